import type { SealedFrame, TransportStats } from './transport.ts'

/** A message to be sent. */
export interface Outgoing {
  readonly parts: (string | Uint8Array)[]
}

/** What a publisher on ZeroMQ has yet to send, and who would take it. Pure state: no clock, socket or timer of its own. */
export interface Backlog {
  /** What it counts, in words. */
  readonly unit: 'frames' | 'lines'
  /** Whether {@link push} would refuse or drop, but for the size of what is pushed. */
  readonly full: boolean
  /** Whether anybody takes anything. */
  readonly subscribed: boolean
  /** Whether something waits that could go out now. */
  readonly ready: boolean
  /** How much waits that somebody took once: what a drain waits for. */
  readonly pressing: number
  /** How much waits. */
  readonly waiting: number

  /** Takes frames; false, and none taken, only when made to refuse. */
  push(frames: readonly SealedFrame[], promised?: boolean): boolean

  /** The next message, marked as sent; undefined when nothing can go out. */
  take(): Outgoing | undefined

  /** Takes back what a socket refused; it goes out next. */
  untake(taken: Outgoing): void

  subscribe(prefix: string): void

  unsubscribe(prefix: string): void

  /** The connection is gone: nobody is subscribed. */
  disconnect(): void

  /** What was sent last may be lost; it waits again where that does no harm. */
  resend(): void

  /** Lets go of what is too old. Call it every second or so. */
  expire(): void

  /** Gives up what waits; `heard` when publishers could be told who takes what. */
  abandon(heard: boolean): void

  stats(): TransportStats
}
