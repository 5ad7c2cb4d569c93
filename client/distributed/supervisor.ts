import { type ChildProcess, fork } from 'node:child_process'
import { resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { UsageError, ZibratoError } from '../errors.ts'
import { tell } from '../platform/warnings.ts'
import type { StatsTree } from '../registry/tree.ts'
import type { WarningSink } from '../warning.ts'
import { type AggregatorFigures, type AggregatorOptions, RegistryAggregator } from './aggregator.ts'
import type { Answer, Orders, Reading, Request } from './messages.ts'

/** How long after its end the process is started again: doubled each time that it did not live for a while. */
const LEAST_PAUSE_MS = 100
const MOST_PAUSE_MS = 10_000
const LIVED_MS = 30_000
/** How long a process may take to stop. */
const STOP_MS = 15_000

// beside this one, as source or built
const PROGRAM = fileURLToPath(import.meta.url).replace(/supervisor(\.\w+)$/, 'process$1')

/** What `new AggregatorProcess(...)` takes. */
export interface AggregatorProcessOptions<Level extends string = string> extends Omit<
  AggregatorOptions<Level>,
  'clock' | 'reporters'
> {
  /**
   * A module, as a URL or a path, which the process loads. Its default export is a reporter, or several, or a function that
   * makes them.
   */
  readonly module?: string | URL | undefined
  /** Flags of Node for the process. Default: this one's, but for debuggers. */
  readonly execArgv?: readonly string[] | undefined
}

interface Asked {
  readonly resolve: (reading: Reading) => void
  readonly reject: (reason: Error) => void
}

/**
 * A {@link RegistryAggregator} in a process of its own, so that adding up and reporting take no time of those that measure. When it
 * dies another goes on with what it knew, and that is said; those that measure send again what came since. It ends with the
 * process that started it, which it does not keep alive.
 *
 * ```ts
 * await using aggregator = await new AggregatorProcess({ module: new URL('./reporters.js', import.meta.url) }).start()
 * ```
 */
export class AggregatorProcess<Level extends string = string> implements AsyncDisposable {
  /** Where processes connect. */
  readonly address: string
  readonly #orders: Orders
  readonly #execArgv: readonly string[]
  readonly #warn: WarningSink
  #child: ChildProcess | undefined
  #isReady = false
  #restarts = 0
  #checkpoint: Uint8Array | undefined
  #pauseMs = LEAST_PAUSE_MS
  #timer: ReturnType<typeof setTimeout> | undefined
  readonly #asked = new Map<number, Asked>()
  #lastId = 0
  #closing: Promise<void> | undefined

  /** @throws UsageError naming the option that makes no sense */
  constructor(options: AggregatorProcessOptions<Level> = {}) {
    const { address, source, level, tags, window, maxSeries, module, onWarning, execArgv } = options
    // made here too, so that what makes no sense is said here
    this.address = new RegistryAggregator({ address, source, level, tags, window, maxSeries }).address
    this.#orders = {
      address,
      source,
      level,
      tags,
      window,
      maxSeries,
      module: module === undefined ? undefined : moduleUrl(module),
    }
    this.#execArgv = execArgv ?? process.execArgv.filter((flag) => !flag.startsWith('--inspect'))
    this.#warn = tell(onWarning)
  }

  /** The process at hand; undefined while there is none. */
  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** How often it was started again. */
  get restarts(): number {
    return this.#restarts
  }

  /** Bytes held for the next process: what this one knew a moment ago. */
  get checkpointBytes(): number {
    return this.#checkpoint?.length ?? 0
  }

  /**
   * Starts the process; resolves once it listens.
   *
   * @throws as {@link RegistryAggregator.start}, and ZibratoError with code `ERR_AGGREGATOR` when the process or its module fails
   */
  async start(): Promise<this> {
    if (this.#child !== undefined || this.#closing !== undefined)
      throw new UsageError('aggregator: it was started already')
    await this.#run()
    return this
  }

  /** {@link RegistryAggregator.getStats} of the process. Waits for one that is being started again. */
  async getStats<Shape extends object = StatsTree>(): Promise<Shape> {
    return (await this.#read()).stats as object as Shape
  }

  /** {@link RegistryAggregator.figures} of the process. */
  async figures(): Promise<AggregatorFigures> {
    return (await this.#read()).figures
  }

  /** Has the process take what is on its way, report it, and end. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Resolves once a new process is ready; rejects when it ends before. */
  #run(): Promise<void> {
    const child = fork(PROGRAM, { execArgv: [...this.#execArgv], serialization: 'advanced', stdio: 'inherit' })
    this.#child = child
    const startedMs = performance.now()
    return new Promise((done, failed) => {
      let reason: Error | undefined
      child.on('message', (answer: Answer) => {
        if (answer.type === 'ready') {
          this.#isReady = true
          done()
          for (const id of this.#asked.keys()) this.#send({ type: 'read', id })
          this.#hold()
        } else if (answer.type === 'failed') reason = errorOf(answer)
        else if (answer.type === 'checkpoint') this.#checkpoint = answer.checkpoint
        else if (answer.type === 'warning') this.#warn(answer.warning)
        else this.#heard(answer.id, answer.reading)
      })
      // one that cannot even be started says so here, and does not exit
      child.once('error', (cause) => {
        if (child.pid !== undefined) return
        reason = new ZibratoError('ERR_AGGREGATOR', `aggregator: its process cannot be started: ${cause.message}`, {
          cause,
        })
        end(null, null)
      })
      const end = (code: number | null, signal: NodeJS.Signals | null): void => {
        const wasReady = this.#isReady
        this.#child = undefined
        this.#isReady = false
        reason ??= new ZibratoError(
          'ERR_AGGREGATOR',
          `aggregator: its process ended by ${signal ?? `exit code ${code ?? '?'}`}`,
        )
        failed(reason)
        if (this.#closing !== undefined || (!wasReady && this.#restarts === 0)) return
        if (performance.now() - startedMs > LIVED_MS) this.#pauseMs = LEAST_PAUSE_MS
        this.#startAgain(reason.message)
      }
      child.once('exit', end)
      this.#send({ type: 'start', orders: this.#orders, checkpoint: this.#checkpoint })
    })
  }

  #startAgain(reason: string): void {
    this.#restarts++
    this.#warn({ code: 'ZIBRATO_AGGREGATOR', message: `${reason}; it is started again in ${this.#pauseMs} ms` })
    this.#timer = setTimeout(() => {
      try {
        // one that ends before it is ready was told of, and is followed by the next
        this.#run().catch(() => {})
      } catch (cause) {
        this.#startAgain(`aggregator: its process cannot be started: ${(cause as Error).message}`)
      }
    }, this.#pauseMs)
    if (this.#asked.size === 0) this.#timer.unref()
    this.#pauseMs = Math.min(MOST_PAUSE_MS, this.#pauseMs * 2)
  }

  async #read(): Promise<Reading> {
    if (this.#closing !== undefined || (this.#child === undefined && this.#timer === undefined)) {
      throw new UsageError('aggregator: it is not running; start it first')
    }
    const id = ++this.#lastId
    const reading = new Promise<Reading>((done, failed) => this.#asked.set(id, { resolve: done, reject: failed }))
    if (this.#isReady) this.#send({ type: 'read', id })
    this.#hold()
    return reading
  }

  #heard(id: number, reading: Reading): void {
    this.#asked.get(id)?.resolve(reading)
    this.#asked.delete(id)
    this.#hold()
  }

  #send(request: Request): void {
    // one that has just died says so itself
    if (this.#child?.connected === true) this.#child.send(request, () => {})
  }

  /** The process keeps this one alive only while somebody waits for an answer. */
  #hold(): void {
    const what = [this.#child, this.#child?.channel, this.#timer]
    for (const each of what) {
      if (this.#asked.size > 0) each?.ref()
      else each?.unref()
    }
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer)
    const child = this.#child
    if (child !== undefined) {
      child.ref()
      const ended = new Promise((done) => child.once('exit', done))
      const killer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
      this.#send({ type: 'stop' })
      await ended
      clearTimeout(killer)
    }
    const closed = new UsageError('aggregator: it was closed before it answered')
    for (const { reject } of this.#asked.values()) reject(closed)
    this.#asked.clear()
  }
}

function moduleUrl(module: string | URL): string {
  if (module instanceof URL) return module.href
  return module.startsWith('file:') ? module : pathToFileURL(resolve(module)).href
}

function errorOf({ code, message }: { code: string | undefined; message: string }): Error {
  return code === 'ERR_USAGE'
    ? new UsageError(message)
    : new ZibratoError(code === 'ERR_LISTEN' ? code : 'ERR_AGGREGATOR', message)
}
