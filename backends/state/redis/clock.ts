import type { Connection } from './connection.ts'

/** The server's clock, reckoned on from when it was last asked; it never goes back. */
export class Clock {
  // what it said, and when that was, ms of `performance.now()`
  #serverMs = 0
  #localMs = 0
  #lastMs = 0

  /** Takes what the server said. */
  set(serverMs: number): void {
    this.#serverMs = serverMs
    this.#localMs = performance.now()
  }

  async now(connection: Connection): Promise<number> {
    if (this.#serverMs === 0) {
      const [seconds, micros] = (await connection.send('TIME')) as [Buffer, Buffer]
      this.set(Number(seconds) * 1000 + Math.floor(Number(micros) / 1000))
    }
    return this.notBefore(this.#serverMs + performance.now() - this.#localMs)
  }

  /** A time, or the last that was told if that is later. */
  notBefore(ms: number): number {
    return (this.#lastMs = Math.max(this.#lastMs, Math.floor(ms)))
  }
}
