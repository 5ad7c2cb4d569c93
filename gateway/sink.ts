import type { CurveKeys } from '../client/curve.ts'
import { withDefaults } from '../client/registry/defaults.ts'
import type { Recorder } from '../client/registry/recorder.ts'
import type { SealedFrame, TransportStats } from '../client/transport/transport.ts'
import { ZmqTransport } from '../client/transport/zmq.ts'
import type { WarningSink } from '../client/warning.ts'
import type { IncomingMeasurement, Sink } from './ingest/sink.ts'
import { HELD_SERIES, createRecorder } from './recorder.ts'

/** How long measurements are gathered into frames; their 202 waits for it. */
const TICK_MS = 20

export interface BrokerSinkOptions {
  /** `tcp://host:5550`, the broker's publishers' port. */
  readonly broker: string
  /** Bytes of frames that wait for the broker and its workers; then posts are answered 503. Default 16 MB. */
  readonly waitingBytes?: number
  /** Bytes of sent frames kept for replay. Default 256 MB. */
  readonly sentBytes?: number
  readonly curve?: CurveKeys | undefined
  readonly warn: WarningSink
}

/**
 * The gateway as a publisher: frames that clients made go on as they are, and what has no identity of its own becomes
 * frames of the gateway's.
 */
export class BrokerSink implements Sink {
  readonly #transport: ZmqTransport
  readonly #recorder: Recorder
  readonly #defaults = withDefaults({})
  #tick: Promise<boolean> | undefined

  constructor({ broker, waitingBytes, sentBytes, curve, warn }: BrokerSinkOptions) {
    this.#transport = new ZmqTransport({
      url: broker,
      curve,
      warn,
      refuse: true,
      waitingBytes: waitingBytes ?? 16 << 20,
      sentBytes: sentBytes ?? 256 << 20,
    })
    this.#recorder = createRecorder()
  }

  get full(): boolean {
    return this.#transport.full
  }

  record(measurement: IncomingMeasurement): string | undefined {
    return this.#recorder.record(measurement, this.#defaults)
  }

  sealed(): Promise<boolean> {
    this.#tick ??= new Promise((resolve) => setTimeout(() => resolve(this.#seal()), TICK_MS))
    return this.#tick
  }

  offer(frames: readonly SealedFrame[]): boolean {
    return this.#transport.send(frames)
  }

  connected(): boolean {
    return this.#transport.connected()
  }

  /** Whether a worker takes anything. */
  get subscribed(): boolean {
    return this.#transport.subscribed
  }

  stats(): TransportStats {
    return this.#transport.stats()
  }

  /** Seals what is left, sends for up to `timeoutMs`, and lets go of the socket. */
  async close(timeoutMs: number): Promise<void> {
    this.#seal()
    await this.#transport.close(timeoutMs)
  }

  #seal(): boolean {
    this.#tick = undefined
    const frames = this.#recorder.seal()
    if (this.#recorder.size > HELD_SERIES) this.#recorder.forgetIdle(this.#defaults)
    // taken when the ring had room: a full one refuses the next post, not this
    return frames.length === 0 || this.#transport.send(frames, true)
  }
}
