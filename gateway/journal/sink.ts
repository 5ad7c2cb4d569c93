import { createHash } from 'node:crypto'
import { sleep } from '../../client/sleep.ts'
import type { CurveKeys } from '../../client/curve.ts'
import { withDefaults } from '../../client/registry/defaults.ts'
import type { Recorder } from '../../client/registry/recorder.ts'
import type { SealedFrame, TransportStats } from '../../client/transport/transport.ts'
import { ZmqTransport } from '../../client/transport/zmq.ts'
import type { WarningSink } from '../../client/warning.ts'
import { encodeBundle } from '../../client/wire/bundle.ts'
import { unavailable } from '../answers.ts'
import type { FrameSink, IncomingMeasurement, MeasurementSink, Sink } from '../ingest/sink.ts'
import { HELD_SERIES, createRecorder } from '../recorder.ts'
import type { JournalEntry } from './batch.ts'
import { JournalError } from './error.ts'
import type { Journal } from './journal.ts'
import { JournalQueue } from './queue.ts'

/** How long measurements are gathered into frames; their 202 waits for it. */
const TICK_MS = 20
/** How long frames that no client would send again are offered to a journal that does not answer. */
const PATIENCE_MS = 2_000
const RETRY_MS = 100
/** How long a broker may take to say which journal it writes. */
const SETTLE_MS = 1_000
const WARNING_MS = 10_000
const MEBIBYTE = 1 << 20

export interface JournalSinkOptions {
  readonly journal: Journal
  /** `tcp://host:5550`, the publishers' port of a broker that writes the same journal. */
  readonly broker: string
  /** Bytes of frames that wait for the broker. What is beyond is dropped, and in the journal all the same. Default 16 MB. */
  readonly waitingBytes?: number
  /** Bytes of sent frames kept for replay. Default 256 MB. */
  readonly sentBytes?: number
  readonly curve?: CurveKeys | undefined
  readonly warn: WarningSink
}

/**
 * The gateway in front of a journal. What is posted is written there before it is acknowledged, and then published too, with
 * a mark, for onlookers and for workers that take from brokers.
 */
export class JournalSink implements Sink {
  /** For StatsD lines: the frames made of them are kept until they are written, and meanwhile no others are made. */
  readonly lines: FrameSink
  readonly #journal: Journal
  readonly #transport: ZmqTransport
  readonly #warn: WarningSink
  readonly #queue: JournalQueue
  #recorder = createRecorder()
  #defaults = withDefaults({})
  #next: Promise<boolean> | undefined
  #sealing: Promise<boolean> = Promise.resolve(true)
  #failure: unknown
  #warnedMs = Number.NEGATIVE_INFINITY

  constructor({ journal, broker, waitingBytes, sentBytes, curve, warn }: JournalSinkOptions) {
    this.#journal = journal
    this.#warn = warn
    this.#transport = new ZmqTransport({
      url: broker,
      curve,
      warn,
      waitingBytes: waitingBytes ?? 16 * MEBIBYTE,
      sentBytes: sentBytes ?? 256 * MEBIBYTE,
      mark: () => journal.token,
    })
    this.#queue = new JournalQueue(journal)
    const isFull = (): boolean => this.#queue.bytes > 0 || this.full
    this.lines = {
      offer: (frames) => {
        this.#queue.put(entriesOf(frames), () => this.#transport.send(frames))
        return true
      },
      get full() {
        return isFull()
      },
    }
  }

  get full(): boolean {
    return this.obstacle() !== undefined
  }

  obstacle(): string | undefined {
    return this.#journal.obstacle?.message ?? this.#stranger()
  }

  /** A broker is not needed for what is posted to arrive. */
  connected(): boolean {
    return true
  }

  record(measurement: IncomingMeasurement): string | undefined {
    return this.#recorder.record(measurement, this.#defaults)
  }

  /** One write at a time: what is recorded meanwhile goes with the next. */
  sealed(): Promise<boolean> {
    if (this.#next === undefined) {
      const recorder = this.#recorder
      this.#next = this.#sealing
        .catch(() => {})
        .then(() => sleep(TICK_MS))
        .then(() => this.#seal(recorder))
    }
    return this.#next
  }

  /**
   * A post of its own publisher, which a repeat of it is too, wherever and whenever it is posted: so its owners tell that it
   * is one.
   */
  keyed(identity: string): MeasurementSink {
    const digest = createHash('sha256').update(`${this.#journal.token}\0${identity}`).digest()
    const recorder = createRecorder((bytes) => {
      bytes.set(digest.subarray(0, bytes.length))
      return bytes
    })
    const defaults = withDefaults({})
    return {
      record: (measurement) => recorder.record(measurement, defaults),
      sealed: () => this.offer(recorder.seal()),
    }
  }

  async offer(frames: readonly SealedFrame[]): Promise<boolean> {
    try {
      await this.#journal.append(entriesOf(frames))
    } catch (error) {
      throw refusalOf(error)
    }
    this.#transport.send(frames)
    return true
  }

  stats(): TransportStats {
    return this.#transport.stats()
  }

  /** Writes and sends what is left for up to `timeoutMs`, and lets go of the socket. */
  async close(timeoutMs: number): Promise<void> {
    await this.#sealing.catch(() => {})
    const lost = await this.#queue.close(timeoutMs)
    if (lost > 0) {
      this.#warn({
        code: 'ZIBRATO_TRANSPORT',
        message: `closed with ${lost} bytes of frames that did not get into the journal: what StatsD lines said last is lost`,
      })
    }
    // without a broker, what waits for it is in the journal
    await this.#transport.close(this.#transport.connected() ? timeoutMs : 0)
  }

  async #seal(recorder: Recorder): Promise<boolean> {
    // the frames before did not get through, so these would look as if some were missing
    if (recorder !== this.#recorder) throw this.#failure
    this.#next = undefined
    this.#sealing = this.#write(recorder.seal())
    const sealed = await this.#sealing
    if (recorder.size > HELD_SERIES) recorder.forgetIdle(this.#defaults)
    return sealed
  }

  /** Frames of the gateway's own: posts that are refused now come again as other frames. */
  async #write(frames: readonly SealedFrame[]): Promise<boolean> {
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      try {
        return await this.offer(frames)
      } catch (error) {
        const { cause } = error as Error
        const isOver = !(cause instanceof JournalError) || cause.fault !== 'unreachable' || performance.now() > deadline
        if (isOver) {
          // a publisher anew, whose frames nobody finds missing
          this.#failure = error
          this.#recorder = createRecorder()
          this.#defaults = withDefaults({})
          this.#next = undefined
          throw error
        }
        await sleep(RETRY_MS)
      }
    }
  }

  /** Why the broker must not be published to with marks. */
  #stranger(): string | undefined {
    const { journal, connectedMs } = this.#transport
    const { fingerprint } = this.#journal
    if (journal === undefined ? connectedMs < SETTLE_MS : journal === '' || journal === fingerprint) return undefined
    const obstacle = journal === undefined ? 'the broker has no journal' : "the broker's journal is another one"
    const now = performance.now()
    if (now - this.#warnedMs > WARNING_MS) {
      this.#warnedMs = now
      this.#warn({
        code: 'ZIBRATO_TRANSPORT',
        message: `${obstacle}, so posts are refused: start it with --journal and the --state that the gateway has`,
      })
    }
    return obstacle
  }
}

/** A bundle for each shard. */
function entriesOf(frames: readonly SealedFrame[]): JournalEntry[] {
  const byShard = new Map<number, Uint8Array[]>()
  for (const { shard, bytes } of frames) {
    const own = byShard.get(shard)
    if (own === undefined) byShard.set(shard, [bytes])
    else own.push(bytes)
  }
  return Array.from(byShard, ([shard, own]) => ({ shard, bundle: encodeBundle(own) }))
}

function refusalOf(error: unknown): unknown {
  return error instanceof JournalError ? unavailable(error.message, error) : error
}
