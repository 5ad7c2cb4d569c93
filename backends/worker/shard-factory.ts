import { type Frame, decodeFrame } from '../../client/wire/frame.ts'
import type { Backend } from '../backend.ts'
import type { CheckedOptions } from './options.ts'
import { Scratch, Shard } from './shard.ts'

/** Makes a worker's shards, empty. */
export class ShardFactory {
  readonly #options: CheckedOptions
  readonly #isJournaled: boolean
  readonly #receivers: readonly Backend[]
  readonly #scratch = new Scratch()

  constructor(options: CheckedOptions, isJournaled: boolean) {
    this.#options = options
    this.#isJournaled = isJournaled
    this.#receivers = options.targets.flatMap(({ backend }) => (backend.receive === undefined ? [] : [backend]))
  }

  create(shard: number): Shard {
    const { intervalMs, maxSeries, idle, levels, log } = this.#options
    return new Shard({
      shard,
      intervalMs,
      maxSeries,
      // brokers forward no others; a journal has them all
      ...(levels === undefined || !this.#isJournaled ? {} : { levels: new Set(levels) }),
      idle,
      scratch: this.#scratch,
      onOverflow: (key) =>
        log.warn(
          { shard, series: key.replaceAll('\0', ' ').trim() },
          'too many series: this and other new ones count in zibrato.overflow; use fewer tag values or raise --max-series',
        ),
      ...(this.#receivers.length === 0
        ? {}
        : { onFrame: (bytes: Uint8Array, start: number, end: number) => this.#show(decodeFrame(bytes, start, end)) }),
    })
  }

  /** A frame is counted whatever backends that want to see it make of it. */
  #show(frame: Frame): void {
    for (const backend of this.#receivers) {
      try {
        backend.receive?.(frame)
      } catch (error) {
        const { message } = error as Error
        this.#options.log.warn({ backend: backend.name, error: message }, 'backend failed to receive a frame')
      }
    }
  }
}
