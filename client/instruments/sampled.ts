import type { Samples } from '../sketch/aggregates.ts'
import type { FrameEncoder } from '../wire/frame.ts'
import { type EncodedKey, TYPE_CODE } from '../wire/series.ts'
import { type Identity, Instrument, type Registrar } from './instrument.ts'

/** What timers and histograms share: values of which the distribution matters. */
export abstract class Sampled<Tag extends string = string> extends Instrument<Tag> {
  abstract override readonly type: 'timer' | 'histogram'
  readonly #aggregate: Samples

  /** @internal */
  constructor(recorder: Registrar, identity: Identity, key: EncodedKey) {
    super(recorder, identity, key)
    this.immediate ||= recorder.singly
    this.#aggregate = recorder.aggregates.samples(() => recorder.sealOne(this))
  }

  /** Records a finite number; of a timer, seconds. */
  record(value: number): void {
    if (typeof value !== 'number' || value - value !== 0) {
      this.refuse(value)
      return
    }
    this.#aggregate.add(value)
    this.touch()
  }

  /** @internal */
  take(value: number | string, weight: number): void {
    if (weight === 1) {
      this.record(value as number)
      return
    }
    this.#aggregate.add(value as number, weight)
    this.touch()
  }

  /** @internal */
  drain(encoder: FrameEncoder): void {
    this.#aggregate.drain(encoder, TYPE_CODE[this.type], this.key)
    this.touched = false
  }

  /** @internal */
  get recorded(): Samples {
    return this.#aggregate
  }

  /** @internal */
  clear(): void {
    this.#aggregate.clear()
    this.touched = false
  }
}
