import type { SealedFrame, Transport, TransportStats } from './transport.ts'

/** Where frames go when nobody said where: counted, and gone. */
export class NowhereTransport implements Transport {
  #dropped = 0

  send(frames: readonly SealedFrame[]): boolean {
    this.#dropped += frames.length
    return true
  }

  connected(): boolean {
    return false
  }

  drain(): Promise<void> {
    return Promise.resolve()
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  stats(): TransportStats {
    return { sent: 0, replayed: 0, waiting: 0, waitingBytes: 0, unknown: 0, dropped: { nowhere: this.#dropped } }
  }
}
