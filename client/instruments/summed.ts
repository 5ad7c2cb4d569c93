import { Instrument } from './instrument.ts'

/** What counters and meters share: amounts that are added up. */
export abstract class Summed<Tag extends string = string> extends Instrument<Tag> {
  abstract override readonly type: 'counter' | 'meter'
  #sum = 0

  protected add(amount: number): void {
    if (!this.isFit(amount)) return
    this.#sum += amount
    this.touch()
  }

  /** @internal */
  take(value: number | string, weight: number): void {
    this.add((value as number) * weight)
  }

  /** @internal */
  drain(entry: never): void {
    this.recorder.aggregates.sum(entry, this.#sum)
    this.clear()
  }

  /** @internal */
  get recorded(): number {
    return this.#sum
  }

  /** @internal */
  clear(): void {
    this.#sum = 0
  }
}
