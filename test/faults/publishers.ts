import { join } from 'node:path'
import { DIST, type Playground, type Program } from '../flow/processes.ts'
import { PATIENCE_MS } from './settings.ts'

/** What was recorded of one series. */
export interface Entry {
  readonly count: number
  readonly sum: number
  readonly max: number
}

/** By series, as `keyOf` in recorder.ts names them. */
export type Ledger = ReadonlyMap<string, Entry>

export interface Account {
  readonly source: string
  /** Recorded, or about to be when the publisher said this. */
  readonly attempted: Ledger
  /** What a gateway or broker has answered for. */
  readonly acknowledged: Ledger
  readonly stats: Readonly<Record<string, unknown>>
}

export interface PublisherOptions {
  readonly source: string
  /** `frames`: a client at a broker, or a gateway when the URL says http. `json`: posts with an Idempotency-Key. */
  readonly kind: 'frames' | 'json'
  readonly url: string
  readonly seed: number
  readonly tickMs?: number
  readonly flushMs?: number
  /** Bytes kept for replay, where that is not what a client keeps by itself. */
  readonly sentBytes?: number
  /** Records one value a tick, of 32 series in turn. */
  readonly single?: boolean
}

/** A program of its own that records, and knows what it recorded. */
export class Publisher {
  readonly source: string
  readonly url: string
  readonly program: Program
  #read = 0

  private constructor({ source, url }: PublisherOptions, program: Program) {
    this.source = source
    this.url = url
    this.program = program
  }

  /** It records once it is told to {@link resume}. */
  static async start(ground: Playground, options: PublisherOptions): Promise<Publisher> {
    const config = { tickMs: 20, flushMs: 100, ...options, dist: DIST }
    const script = join(import.meta.dirname, 'publisher.mjs')
    const program = ground.start(process.execPath, [script], { PUBLISHER: JSON.stringify(config) })
    const publisher = new Publisher(options, program)
    await publisher.#answer()
    return publisher
  }

  resume(): void {
    this.program.child.stdin?.write('resume\n')
  }

  /** Stops recording; resolves once all that was recorded is sent, and where something answers, answered. */
  pause(): Promise<Account> {
    return this.#ask('pause')
  }

  /** What it recorded so far. */
  ledger(): Promise<Account> {
    return this.#ask('ledger')
  }

  /** What is acknowledged now, and what a client has recorded until now, once it is acknowledged. */
  sure(): Promise<Account> {
    return this.#ask('sure')
  }

  async close(): Promise<Account> {
    const account = await this.#ask('close')
    await this.program.ended
    return account
  }

  async #ask(command: string): Promise<Account> {
    this.program.child.stdin?.write(`${command}\n`)
    const { attempted, acknowledged, ...rest } = JSON.parse(await this.#answer()) as {
      source: string
      stats: Record<string, unknown>
      attempted: [string, Entry][]
      acknowledged: [string, Entry][]
    }
    return { ...rest, attempted: new Map(attempted), acknowledged: new Map(acknowledged) }
  }

  /** The next line it says. */
  #answer(): Promise<string> {
    return this.program.output(
      ({ stdout }) => {
        const end = stdout.indexOf('\n', this.#read)
        if (end < 0) return undefined
        const line = stdout.slice(this.#read, end)
        this.#read = end + 1
        return line
      },
      `an answer of publisher ${this.source}`,
      PATIENCE_MS,
    )
  }
}
