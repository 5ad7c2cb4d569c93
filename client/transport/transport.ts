import type { Combine } from '../sketch/combine.ts'
import type { Tags, Type } from '../wire/series.ts'

/** A frame as it leaves its maker; the bytes never change after this. */
export interface SealedFrame {
  readonly bytes: Uint8Array
  readonly level: string
  readonly shard: number
  readonly seq: number
  /** ms since the epoch. */
  readonly closedMs: number
}

/** What a transport carries, where that is not everything. */
export interface Carries {
  /** Whether timers and histograms have to make a frame of every value at once. */
  readonly singly: boolean

  /** @throws InvalidMeasurementError for a series that it does not carry */
  check(
    type: Type,
    identity: { readonly name: string; readonly source: string; readonly tags: Tags },
    combine: Combine,
  ): void
}

/** How frames get from a client towards the broker. */
export interface Transport {
  /** Undefined: every frame. */
  readonly carries?: Carries | undefined

  /**
   * Takes frames; never throws, never blocks. False when none of them was taken because the transport is full and was made
   * to refuse (a gateway's); a client's drops its oldest instead and counts them.
   */
  send(frames: readonly SealedFrame[]): boolean

  /** Whether what is sent now is likely to go out now. */
  connected(): boolean

  /** Resolves once what was taken so far has gone out or been given up, or after `timeoutMs`. Never rejects. */
  drain(timeoutMs: number): Promise<void>

  /**
   * Where it exists, `flush` calls it in place of `drain`: it calls `seal`, which hands over what was recorded so far, only
   * when something can be sent, so that things add up until then. Answers whether its last attempt went well. Never rejects.
   */
  pull?(timeoutMs: number, seal: () => void): Promise<boolean>

  /** Drains, then lets go of everything. Idempotent. */
  close(timeoutMs: number): Promise<void>

  stats(): TransportStats
}

/** Frames by what became of them. */
export interface TransportStats {
  /** Gone out for the first time. */
  readonly sent: number
  /** Gone out again, for a replay request or after a reconnect. */
  readonly replayed: number
  /** Not gone out yet. */
  readonly waiting: number
  /** Bytes of those. */
  readonly waitingBytes: number
  /** Given up after having gone out at least once without an answer: they may have arrived. */
  readonly unknown: number
  /** Given up, by reason. */
  readonly dropped: Readonly<Record<string, number>>
}
