import { type Frame, decodeFrame } from '../wire/frame.ts'
import type { SealedFrame, Transport, TransportStats } from './transport.ts'

/** Keeps every frame it was given, decoded: for tests. */
export class MemoryTransport implements Transport {
  /** Frames in the order they were sent. */
  readonly frames: Frame[] = []
  readonly #onFrame: ((frame: Frame) => void) | undefined

  constructor(onFrame?: (frame: Frame) => void) {
    this.#onFrame = onFrame
  }

  send(frames: readonly SealedFrame[]): boolean {
    for (const { bytes } of frames) {
      const frame = decodeFrame(bytes)
      this.frames.push(frame)
      this.#onFrame?.(frame)
    }
    return true
  }

  connected(): boolean {
    return true
  }

  drain(): Promise<void> {
    return Promise.resolve()
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  stats(): TransportStats {
    return { sent: this.frames.length, replayed: 0, waiting: 0, waitingBytes: 0, unknown: 0, dropped: {} }
  }
}
