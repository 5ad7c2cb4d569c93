import type { AddressInfo } from 'node:net'
import { udpEntry } from './udp-table.ts'

/** Looks after a socket's drops, every few seconds. */
export class KernelDrops {
  /** Since the socket was bound; stays 0 where the kernel does not say. */
  total = 0
  readonly #bound: AddressInfo
  readonly #onGrowth: (drops: number) => void
  readonly #timer: ReturnType<typeof setInterval>
  #known = 0
  #looking: Promise<void> | undefined

  /** @param onGrowth told how many there were since it was told last */
  constructor(bound: AddressInfo, everyMs: number, onGrowth: (drops: number) => void) {
    this.#bound = bound
    this.#onGrowth = onGrowth
    this.#timer = setInterval(() => void this.look(), everyMs).unref()
  }

  /** Reads the counter now. Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => (this.#looking = undefined))
    return this.#looking
  }

  /** Reads it a last time, which is to be waited for before the socket is closed. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.look()
  }

  async #look(): Promise<void> {
    const entry = await udpEntry(this.#bound)
    if (entry === undefined) return
    const drops = (entry.drops - this.#known) >>> 0
    this.#known = entry.drops
    this.total += drops
    if (drops > 0) this.#onGrowth(drops)
  }
}
