import { withDefaults } from '../../client/registry/defaults.ts'
import { type Handles, Recorder } from '../../client/registry/recorder.ts'
import { Ring } from '../../client/transport/ring.ts'
import type { SealedFrame, TransportStats } from '../../client/transport/transport.ts'
import { TEXT_FAULTS, type TextFault, TextReader, type TextType } from '../../client/wire/text.ts'

/** How long lines are gathered into frames: less than what a worker that stops goes on listening. */
const TICK_MS = 100
/** How often frames that are too old are let go of. */
const EXPIRE_MS = 1_000
/** Series held between ticks, so that those that come again need not be made again. */
const HELD_SERIES = 20_000
/** Levels that become frames; each costs a sequence of frames per shard for as long as the broker runs. */
const LEVELS = 1_000
const WAITING_BYTES = 16 << 20
const SENT_BYTES = 256 << 20
/** What a journal takes. */
const EVERYTHING = '#'
/** Bytes of a bad line that a warning shows. */
const SHOWN_BYTES = 120

export interface LinesOptions {
  /** Gives a frame message to its subscribers. */
  readonly send: (topic: string, bundle: Uint8Array) => void
  /** Shown every frame as it is made. */
  readonly onFrames?: (frames: readonly SealedFrame[]) => void
  /** Told what an operator should know; `message` is made only when it is shown. */
  readonly warn: (kind: string, message: () => string) => void
}

interface Known {
  readonly identity: Uint8Array
  readonly handle: Handles[TextType]
}

/**
 * The broker as a publisher: what text lines say becomes frames, which wait for subscribers and are sent again on request
 * as those of any publisher are.
 *
 * ```
 * line --> reader --> handle, found by the bytes that name its series --> every 100 ms: frames --> ring --> subscribers
 * ```
 */
export class Lines {
  /** Lines that became no measurement. */
  readonly bad: Record<TextFault, number> = { parts: 0, level: 0, type: 0, name: 0, value: 0, timestamp: 0, source: 0 }
  readonly #options: LinesOptions
  readonly #reader = new TextReader()
  readonly #recorder = new Recorder({
    // what text publishers make up is bounded by workers; here series live for a tick
    maxSeries: Number.POSITIVE_INFINITY,
    onFrame: () => {},
    random: (bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
    warn: () => {},
  })
  readonly #defaults = withDefaults({})
  readonly #known = new Map<number, Known>()
  readonly #levels = new Set<string>()
  readonly #ring: Ring
  #tick: ReturnType<typeof setTimeout> | undefined
  readonly #expiring: ReturnType<typeof setInterval>
  #overflow = 0

  constructor(options: LinesOptions) {
    this.#options = options
    this.#ring = new Ring({
      waitingBytes: WAITING_BYTES,
      sentBytes: SENT_BYTES,
      now: () => performance.now(),
      onShortHorizon: (horizonMs) =>
        options.warn(
          'horizon',
          () =>
            `broker: frames of text lines are kept ${Math.round(horizonMs)} ms for replay instead of 15 s; there are too many series`,
        ),
    })
    if (options.onFrames !== undefined) this.#ring.subscribe(EVERYTHING)
    this.#expiring = setInterval(() => this.#expire(), EXPIRE_MS).unref()
  }

  /** Takes what a line says, now. */
  take(line: Uint8Array): void {
    const reader = this.#reader
    const fault = reader.read(line)
    if (fault !== undefined) {
      this.#refuse(fault, line)
      return
    }
    const known = this.#known.get(reader.hash)
    const handle = known !== undefined && reader.is(known.identity) ? known.handle : this.#find(line)
    if (handle === undefined) return
    handle.take(reader.value, 1, undefined)
    this.#tick ??= setTimeout(() => this.seal(), TICK_MS)
  }

  /** Takes a subscription, or its end, as subscribers send them. */
  hear(message: Uint8Array): void {
    const prefix = Buffer.from(message.buffer, message.byteOffset, message.byteLength).toString('utf8', 1)
    if (message[0] === 1) this.#ring.subscribe(prefix)
    // the journal goes on taking everything
    else if (this.#options.onFrames === undefined || prefix !== EVERYTHING) this.#ring.unsubscribe(prefix)
    this.#send()
  }

  /** Makes frames of what was taken, and sends those that somebody takes. */
  seal(): void {
    clearTimeout(this.#tick)
    this.#tick = undefined
    const frames = this.#recorder.seal()
    this.#ring.push(frames)
    this.#options.onFrames?.(frames)
    if (this.#known.size > HELD_SERIES || this.#recorder.size > HELD_SERIES) {
      this.#known.clear()
      this.#recorder.forgetIdle(this.#defaults)
    }
    this.#send()
  }

  /** Seals, sends, and gives up what nobody takes. */
  stop(): void {
    clearInterval(this.#expiring)
    this.seal()
    const { pressing } = this.#ring
    if (pressing > 0) {
      this.#options.warn(
        'stopped',
        () =>
          `broker: stopped with ${pressing} frames of text lines that no worker took any more; keep one running until the broker has stopped`,
      )
    }
    this.#ring.abandon(true)
  }

  /** What became of the frames. */
  stats(): TransportStats {
    return this.#ring.stats()
  }

  #find(line: Uint8Array): Handles[TextType] | undefined {
    const reader = this.#reader
    const series = reader.series()
    if (typeof series === 'string') {
      this.#refuse(series, line)
      return undefined
    }
    const { level, type, name, source } = series
    if (!this.#levels.has(level)) {
      if (this.#levels.size >= LEVELS) {
        this.#refuse('level', line, `there are over ${LEVELS} levels; use fewer`)
        return undefined
      }
      this.#levels.add(level)
    }
    const handle = this.#recorder.handle(type, { name, source, level, tags: {}, combine: 'last' })
    // of two that share a hash the first is found faster
    if (!this.#known.has(reader.hash)) this.#known.set(reader.hash, { identity: reader.identity(), handle })
    return handle
  }

  #refuse(fault: TextFault, line: Uint8Array, why: string = TEXT_FAULTS[fault]): void {
    this.bad[fault]++
    this.#options.warn('line', () => {
      const count = Object.values(this.bad).reduce((sum, each) => sum + each)
      const shown = JSON.stringify(Buffer.from(line.subarray(0, SHOWN_BYTES)).toString('utf8'))
      const more = line.length > SHOWN_BYTES ? '...' : ''
      const lines = count === 1 ? 'text line was' : 'text lines were'
      return `broker: ${count} ${lines} forwarded but not counted so far, such as ${shown}${more}: ${why}`
    })
  }

  #send(): void {
    for (let taken = this.#ring.take(); taken !== undefined; taken = this.#ring.take()) {
      this.#options.send(taken.topic, taken.bundle)
    }
  }

  #expire(): void {
    this.#ring.expire()
    const overflow = this.#ring.stats().dropped['overflow'] ?? 0
    if (overflow > this.#overflow) {
      this.#options.warn(
        'overflow',
        () => `broker: ${overflow} frames of text lines were dropped so far, as no worker takes them; start one`,
      )
    }
    this.#overflow = overflow
  }
}
