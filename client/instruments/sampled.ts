import { Distribution } from '../sketch/distribution.ts'
import type { FrameEncoder } from '../wire/frame.ts'
import { type EncodedKey, TYPE_CODE } from '../wire/series.ts'
import { type Identity, Instrument, type Registrar } from './instrument.ts'

/** What timers and histograms share: values of which the distribution matters. */
export abstract class Sampled<Tag extends string = string> extends Instrument<Tag> {
  abstract override readonly type: 'timer' | 'histogram'
  readonly #aggregate = new Distribution()

  /** @internal */
  constructor(recorder: Registrar, identity: Identity, key: EncodedKey) {
    super(recorder, identity, key, recorder.immediate || recorder.singly)
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
    encoder.add(TYPE_CODE[this.type], this.key, this.#aggregate)
    this.clear()
  }

  /** @internal */
  get recorded(): Distribution {
    return this.#aggregate
  }

  /** @internal */
  clear(): void {
    this.#aggregate.clear()
    this.touched = false
  }
}
