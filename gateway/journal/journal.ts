import { createHash, randomBytes } from 'node:crypto'
import { type Appending, type JournalEntry, join } from './batch.ts'
import { JournalError } from './error.ts'
import { type Holdings, complaint, journalHoldings } from './groups.ts'
import { judge, memoryOf } from './health.ts'
import { JournalKeys } from './keys.ts'
import type { JournalReply, JournalServer } from './server.ts'

export type { JournalEntry } from './batch.ts'

export interface JournalOptions {
  /** Makes the connection; called by `start`. */
  readonly connect: () => Promise<JournalServer>
  /** Begins every key; that of the workers' state. Default `zibrato:`. */
  readonly prefix?: string
  /** How many replicas must have what was written before that is acknowledged. Default 0. */
  readonly replicas?: number
  /** Bytes not written yet that are held at the most. Default 64 MB. */
  readonly maxBytes?: number
  /** How long an answer is waited for, ms. Default 5,000. */
  readonly timeoutMs?: number
  /** Told one line about what an operator should know, and when it is over. */
  readonly onWarning?: (message: string) => void
}

export interface JournalStats {
  /** Appendings written, and not. */
  readonly appended: number
  readonly failed: number
  /** Entries of streams, and their bytes. */
  readonly entries: number
  readonly bytes: number
  /** Bytes not written yet. */
  readonly waitingBytes: number
  /** Bytes of memory used, and that may be, of the fullest master. */
  readonly memory: { readonly usedBytes: number; readonly maxBytes: number }
  /** What groups have not committed yet, as of the last minute; undefined before the first look. */
  readonly holdings: Holdings | undefined
  /** Why nothing is taken now. */
  readonly obstacle: string | undefined
}

/** Bytes of bundles joined into one entry of a stream, at the most; one bundle may be longer. */
const ENTRY_BYTES = 256 * 1024
/** Bytes written at once. */
const WRITE_BYTES = 8 << 20
/** How often the server is asked how it is; at first sooner after something failed. */
const LOOK_MS = 1_000
const LOOK_AGAIN_MS = 20
const WARNING_MS = 10_000
/** How often it is looked who keeps the journal from being trimmed, and after how long that is worth a word. */
const HOLDINGS_MS = 60_000
const SLOW_MS = 300_000

/**
 * Writes bundles to the journal: a stream per shard in Redis, from which every group of workers reads. What comes while a
 * write is under way goes with the next, joined into an entry per shard.
 *
 * ```
 * append --> gathered --> one XADD a shard, all at once --> WAIT, with replicas --> resolved
 * ```
 */
export class Journal {
  readonly keys: JournalKeys
  readonly #options: JournalOptions
  readonly #maxBytes: number
  readonly #timeoutMs: number
  #server: JournalServer | undefined
  #gathered: Appending[] = []
  #bytes = 0
  #writing: Promise<void> | undefined
  #looking: ReturnType<typeof setTimeout> | undefined
  #isLooking = false
  #pauseMs = LOOK_AGAIN_MS
  #obstacle: JournalError | undefined = new JournalError('unreachable', 'the journal is not reached yet')
  #token: string | undefined
  #fingerprint: string | undefined
  #closed = false
  #warnedMs = Number.NEGATIVE_INFINITY
  #warned = false
  #memory = { usedBytes: 0, maxBytes: 0 }
  #holdings: Holdings | undefined
  #holdingsMs = Number.NEGATIVE_INFINITY
  readonly #counts = { appended: 0, failed: 0, entries: 0, bytes: 0 }

  constructor(options: JournalOptions) {
    this.#options = options
    this.keys = new JournalKeys(options.prefix)
    this.#maxBytes = options.maxBytes ?? 64 << 20
    this.#timeoutMs = options.timeoutMs ?? 5_000
  }

  /** Begins to connect. Until the server is reached {@link obstacle} says so; it is tried again and again. */
  async start(): Promise<void> {
    if (this.#server !== undefined || this.#closed) return
    this.#server = await this.#options.connect()
    await this.#look()
  }

  /** What marks a message as journaled; undefined before the server was reached. */
  get token(): string | undefined {
    return this.#token
  }

  /** What tells one journal from another, and nothing of its token. */
  get fingerprint(): string | undefined {
    return this.#fingerprint
  }

  /** Why nothing is taken now; undefined when it is. */
  get obstacle(): JournalError | undefined {
    if (this.#closed) return new JournalError('closed', 'the journal is closed')
    if (this.#obstacle !== undefined) return this.#obstacle
    if (this.#bytes <= this.#maxBytes) return undefined
    return new JournalError('busy', 'the journal is written more slowly than is posted')
  }

  /**
   * Resolves once all of it is in the journal. The bytes must not change before.
   *
   * @throws JournalError saying why not
   */
  append(entries: readonly JournalEntry[]): Promise<void> {
    const obstacle = this.obstacle
    if (obstacle !== undefined) {
      this.#counts.failed++
      return Promise.reject(obstacle)
    }
    if (entries.length === 0) return Promise.resolve()
    const bytes = entries.reduce((sum, { bundle }) => sum + bundle.length, 0)
    this.#bytes += bytes
    return new Promise((resolve, reject) => {
      this.#gathered.push({ entries, bytes, resolve, reject })
      // what comes in the same turn goes along
      this.#writing ??= new Promise((next) => setImmediate(next)).then(() => this.#write())
    })
  }

  stats(): JournalStats {
    return {
      ...this.#counts,
      waitingBytes: this.#bytes,
      memory: this.#memory,
      holdings: this.#holdings,
      obstacle: this.obstacle?.message,
    }
  }

  /** Writes what was taken, and lets go of the connection. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#looking)
    await this.#writing
    this.#server?.close()
  }

  async #write(): Promise<void> {
    while (this.#gathered.length > 0) {
      const batch = this.#take()
      const failures = new Map<Appending, JournalError>()
      try {
        await this.#writeBatch(batch, failures)
      } catch (error) {
        for (const appending of batch) failures.set(appending, this.#failure(error))
      }
      for (const appending of batch) {
        this.#bytes -= appending.bytes
        const failure = failures.get(appending)
        if (failure === undefined) {
          this.#counts.appended++
          appending.resolve()
        } else {
          this.#counts.failed++
          appending.reject(failure)
        }
      }
    }
    this.#writing = undefined
  }

  /** What goes at once, oldest first. */
  #take(): Appending[] {
    let bytes = 0
    let count = 0
    for (const appending of this.#gathered) {
      if (count > 0 && bytes + appending.bytes > WRITE_BYTES) break
      bytes += appending.bytes
      count++
    }
    return this.#gathered.splice(0, count)
  }

  async #writeBatch(batch: readonly Appending[], failures: Map<Appending, JournalError>): Promise<void> {
    const server = this.#server as JournalServer
    const { session } = server
    const { replicas = 0 } = this.#options
    const written = new Set<string>()
    await Promise.all(
      join(batch, ENTRY_BYTES).map(async ({ shard, bundle, of }) => {
        const key = this.keys.stream(shard)
        try {
          await server.send('XADD', key, '*', 'b', bundle)
          this.#counts.entries++
          this.#counts.bytes += bundle.length
          written.add(key)
        } catch (error) {
          // a shard's node may be away while others live
          for (const appending of of) failures.set(appending, this.#failure(error))
        }
      }),
    )
    if (replicas === 0) return
    const nodes = new Map(Array.from(written, (key) => [server.nodeOf(key), key]))
    try {
      await Promise.all(Array.from(nodes.values(), (key) => server.replicated(key, replicas, this.#timeoutMs, session)))
    } catch (cause) {
      const failure = new JournalError('refused', 'the journal has too few replicas', { cause, mayBeWritten: true })
      this.#stop(failure, (cause as Error).message)
      throw failure
    }
  }

  #failure(error: unknown): JournalError {
    if (error instanceof JournalError) return error
    const { message, cause } = error as Error
    const said = cause instanceof Error ? cause.message : message
    const failure = judgeFailure(said, error)
    this.#stop(failure, message)
    return failure
  }

  /** Takes nothing more until the server says that all is well. */
  #stop(obstacle: JournalError, said: string): void {
    this.#obstacle = obstacle
    const now = performance.now()
    if (now - this.#warnedMs > WARNING_MS) {
      this.#warnedMs = now
      this.#warned = true
      this.#options.onWarning?.(`journal: ${obstacle.message}: ${said}`)
    }
    this.#lookSoon(this.#pauseMs)
  }

  #lookSoon(ms: number): void {
    clearTimeout(this.#looking)
    if (!this.#closed) this.#looking = setTimeout(() => void this.#look(), ms).unref()
  }

  /** Asks the server how it is. */
  async #look(): Promise<void> {
    const server = this.#server as JournalServer
    if (this.#isLooking) return
    this.#isLooking = true
    this.#pauseMs = Math.min(this.#pauseMs * 2, LOOK_MS)
    try {
      const infos = await server.info()
      const memories = infos.map(memoryOf)
      this.#memory = memories.reduce((most, own) => (fullness(own) >= fullness(most) ? own : most), {
        usedBytes: 0,
        maxBytes: 0,
      })
      const obstacle = judge(infos)
      if (obstacle === undefined || obstacle.fault === 'full') {
        this.#token = await this.#readToken(server)
        this.#fingerprint = createHash('sha256').update(this.#token).digest('hex').slice(0, 16)
      }
      await this.#lookWhoHolds(server, obstacle?.fault === 'full')
      if (obstacle !== undefined) {
        this.#stop(obstacle, wayOut(obstacle, server.name))
        return
      }
      this.#obstacle = undefined
      this.#pauseMs = LOOK_AGAIN_MS
      if (this.#warned) this.#options.onWarning?.('journal: is written again')
      this.#warned = false
      this.#lookSoon(LOOK_MS)
    } catch (error) {
      this.#failure(error)
    } finally {
      this.#isLooking = false
    }
  }

  async #lookWhoHolds(server: JournalServer, isFull: boolean): Promise<void> {
    const now = performance.now()
    if (now - this.#holdingsMs < (isFull ? WARNING_MS : HOLDINGS_MS)) return
    this.#holdingsMs = now
    try {
      this.#holdings = await journalHoldings(server, this.#options.prefix)
    } catch {
      // what keeps it from being read keeps it from being written, which is told of
      return
    }
    const words = complaint(this.#holdings, Date.now(), isFull ? 0 : SLOW_MS)
    if (words !== undefined) this.#options.onWarning?.(`journal: ${words}`)
  }

  /** The first who comes draws it. */
  async #readToken(server: JournalServer): Promise<string> {
    const { token } = this.keys
    const held = textOf(await server.send('GET', token))
    if (held !== undefined) return held
    await server.send('SET', token, randomBytes(16).toString('hex'), 'NX')
    return textOf(await server.send('GET', token)) as string
  }
}

function judgeFailure(said: string, cause: unknown): JournalError {
  if (/\bOOM\b/.test(said)) return new JournalError('full', 'the journal is full', { cause })
  if (/^[A-Z]+ /.test(said) && !/^(LOADING|CLUSTERDOWN|MASTERDOWN|TRYAGAIN|BUSY|UNBLOCKED) /.test(said)) {
    return new JournalError('refused', 'the journal cannot be written', { cause })
  }
  return new JournalError('unreachable', 'the journal cannot be reached', { cause, mayBeWritten: true })
}

function wayOut({ fault }: JournalError, name: string): string {
  if (fault === 'full') {
    return `raise maxmemory of ${name}, or see with "zibrato groups" which group of workers holds it`
  }
  return name
}

function fullness({ usedBytes, maxBytes }: JournalStats['memory']): number {
  return maxBytes === 0 ? 0 : usedBytes / maxBytes
}

function textOf(reply: JournalReply): string | undefined {
  return reply instanceof Uint8Array ? Buffer.from(reply).toString('latin1') : undefined
}
