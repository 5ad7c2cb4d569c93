import type { CurveKeys } from '../../client/curve.ts'
import { durationMs } from '../../client/duration.ts'
import { UsageError } from '../../client/errors.ts'
import { type Frame, decodeFrame } from '../../client/wire/frame.ts'
import { SHARDS } from '../../client/wire/series.ts'
import type { Backend } from '../backend.ts'
import type { Commit, State } from '../state/state.ts'
import { Delivery, type DeliveryFigures, type DeliveryLog, type Target, WindowCache } from './deliver.ts'
import { Inbox, type Received } from './inbox.ts'
import { DEFAULT_PERCENTILES, percentileName } from './rollup.ts'
import { type Idle, Scratch, Shard } from './shard.ts'
import { Source } from './source.ts'

/** Bytes of bundles appended to the log at once. */
const APPEND_BYTES = 4 << 20
/** On stopping, how long the source must be quiet before it is closed, and how long that is waited for. */
const QUIET_MS = 250
const LAST_CALL_MS = 1_000
/** How long frames may be missing before their publishers are asked for them. */
const MISSING_MS = 1_000

export interface WorkerOptions {
  /** Brokers by their publishers' port. */
  readonly brokers: readonly string[]
  readonly targets: readonly Target[]
  readonly state: State
  /** Default `default`. */
  readonly group?: string
  /** Levels to take; all when undefined. */
  readonly levels?: readonly string[] | undefined
  /** Length of a window; ms, or a text such as `'10s'`. Default 10 s. */
  readonly flush?: number | string
  /** What becomes of series without data. Default `skip`. */
  readonly idle?: Idle
  /** Quantiles, over 0 and below 1, of timers and histograms. */
  readonly percentiles?: readonly number[]
  /** Series per shard at the most. Default 1,000,000. */
  readonly maxSeries?: number
  readonly curve?: CurveKeys | undefined
  /** How long stopping waits for backends, and for a state that fails. Default 10 s. */
  readonly stopTimeout?: number | string
  readonly log: DeliveryLog
}

export interface WorkerFigures {
  /** Frames by what became of them. */
  merged: number
  replays: number
  invalid: number
  refused: number
  lost: number
  missing: number
  /** Measurements' series that counted in `zibrato.overflow`, times. */
  overflowed: number
  series: number
  publishers: number
  /** Windows committed. */
  windows: number
  /** Bytes received and not yet in the log. */
  inboxBytes: number
  /** Brokers connected to. */
  connections: number
  backends: Readonly<Record<string, DeliveryFigures>>
}

/**
 * A flush worker: takes frames from brokers, appends them to its shards' logs, merges what the logs answered, and commits
 * each window's rollups to the outbox, from where they are delivered.
 *
 * One loop does all of this in order, so that memory is always the last snapshot plus the log up to a position.
 */
export class Worker implements AsyncDisposable {
  readonly #options: WorkerOptions
  readonly #state: State
  readonly #log: DeliveryLog
  readonly #intervalMs: number
  readonly #stopTimeoutMs: number
  readonly #shards: Shard[]
  readonly #inbox = new Inbox()
  readonly #source: Source
  readonly #deliveries: Delivery[]
  readonly #asked = new Map<number, { missing: number; sinceMs: number }>()
  #starting: Promise<void> | undefined
  #loop: Promise<void> | undefined
  #stopped: Promise<void> | undefined
  #stopping = false
  #windows = 0
  #lookedForMissingMs = 0
  // when a state that still fails is no longer tried, ms of `performance.now()`
  #givesUpMs = Number.POSITIVE_INFINITY

  /** @throws UsageError naming the option that makes no sense */
  constructor(options: WorkerOptions) {
    this.#options = options
    this.#state = options.state
    this.#log = options.log
    this.#intervalMs = durationMs(options.flush ?? 10_000)
    if (!(this.#intervalMs >= 100 && this.#intervalMs <= 86_400_000)) {
      throw new UsageError(`worker: flush ${String(options.flush)} must lie between 100ms and 24h`)
    }
    const percentiles = options.percentiles ?? DEFAULT_PERCENTILES
    if (!percentiles.every((quantile) => quantile > 0 && quantile < 1)) {
      throw new UsageError('worker: percentiles are quantiles over 0 and below 1, such as 0.99')
    }
    const names = [...new Set(percentiles)].map(percentileName)
    const ambiguous = names.find((name, index) => names.indexOf(name) !== index)
    if (ambiguous !== undefined) {
      throw new UsageError(`worker: two percentiles are called ${ambiguous}; leave one of them out`)
    }
    const maxSeries = options.maxSeries ?? 1_000_000
    if (!(maxSeries >= 1)) throw new UsageError(`worker: maxSeries ${String(maxSeries)} must be 1 or more`)
    this.#stopTimeoutMs = durationMs(options.stopTimeout ?? 10_000)
    const keys = options.targets.map(({ key }) => key)
    const twice = keys.find((key, index) => keys.indexOf(key) !== index)
    if (twice !== undefined) {
      throw new UsageError(`worker: two backends are known as ${twice}; add ?known-as=NAME to one of them`)
    }
    const receivers = options.targets.flatMap(({ backend }) => (backend.receive === undefined ? [] : [backend]))
    const scratch = new Scratch()
    this.#shards = Array.from(
      { length: SHARDS },
      (_, shard) =>
        new Shard({
          shard,
          intervalMs: this.#intervalMs,
          maxSeries,
          idle: options.idle ?? 'skip',
          scratch,
          onOverflow: (key) =>
            this.#log.warn(
              { shard, series: key.replaceAll('\0', ' ').trim() },
              'too many series: this and other new ones count in zibrato.overflow; use fewer tag values or raise --max-series',
            ),
          ...(receivers.length === 0
            ? {}
            : {
                onFrame: (bytes: Uint8Array, start: number, end: number) => {
                  const frame = decodeFrame(bytes, start, end)
                  for (const backend of receivers) this.#show(backend, frame)
                },
              }),
        }),
    )
    this.#source = new Source({
      brokers: options.brokers,
      levels: options.levels,
      curve: options.curve,
      onBundle: (received) => this.#inbox.put(received),
    })
    const windows = new WindowCache(percentiles)
    this.#deliveries = options.targets.map((target) => new Delivery(target, this.#state, windows, this.#log))
  }

  /** Restores what the state holds, connects the backends, and begins to receive. When that fails, all is let go of. */
  async start(): Promise<void> {
    this.#starting = this.#start()
    try {
      await this.#starting
    } catch (error) {
      // the first failure tells more than what closing makes of it
      await this.stop().catch(() => {})
      throw error
    }
  }

  async #start(): Promise<void> {
    const { group = 'default', targets } = this.#options
    await this.#state.open({ group, backends: targets.map(({ key }) => key) })
    for (const { backend } of targets) {
      await backend.connect?.()
      if (this.#stopped !== undefined) throw new Error('worker: stopped while it started')
    }
    for (const shard of this.#shards) await this.#restore(shard)
    for (const delivery of this.#deliveries) delivery.start()
    // what remembers nothing cannot tell a replay from what it counted before it was restarted
    await this.#source.start(
      this.#shards.map(({ shard }) => shard),
      this.#state.durable,
    )
    this.#loop = this.#run()
  }

  /** Resolves when the worker has stopped, or rejects with what ended it. */
  async finished(): Promise<void> {
    await this.#loop
  }

  /** Takes in what is under way, commits, delivers for up to `stopTimeout`, and lets go of everything. Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  figures(): WorkerFigures {
    const figures = {
      merged: 0,
      replays: 0,
      invalid: 0,
      refused: 0,
      lost: 0,
      missing: 0,
      overflowed: 0,
      series: 0,
      publishers: 0,
    }
    for (const shard of this.#shards) {
      figures.merged += shard.figures.merged
      figures.replays += shard.figures.replays
      figures.invalid += shard.figures.invalid
      figures.refused += shard.figures.refused
      figures.overflowed += shard.figures.overflowed
      figures.lost += shard.lost
      figures.missing += shard.missing
      figures.series += shard.series
      figures.publishers += shard.publishers
    }
    return {
      ...figures,
      windows: this.#windows,
      inboxBytes: this.#inbox.bytes,
      connections: this.#source.connections,
      backends: Object.fromEntries(this.#deliveries.map(({ target, figures: own }) => [target.label, own])),
    }
  }

  async #restore(shard: Shard): Promise<void> {
    const { snapshots, end, entries } = await this.#state.acquire(shard.shard)
    shard.restore(snapshots, end)
    for await (const { bundle, position, timeMs } of entries) {
      if (shard.end === 0) shard.open(timeMs)
      if (timeMs >= shard.end) await this.#commit([shard], timeMs)
      shard.merge(bundle, position, timeMs)
    }
    if (shard.end === 0) shard.open(await this.#state.now())
  }

  async #run(): Promise<void> {
    while (!this.#stopping || this.#inbox.bytes > 0) {
      const received = this.#inbox.take(APPEND_BYTES)
      if (received.length > 0) await this.#take(received)
      const now = await this.#state.now()
      const due = this.#shards.filter(({ end }) => now >= end)
      if (due.length > 0) await this.#commit(due, now)
      this.#askForMissing()
      if (received.length > 0 || this.#stopping) continue
      const next = Math.min(...this.#shards.map(({ end }) => end)) - now
      await this.#inbox.wait(Math.max(1, Math.min(next, MISSING_MS)))
    }
  }

  async #take(received: readonly Received[]): Promise<void> {
    const appended = await this.#append(received)
    for (let index = 0; index < received.length; index++) {
      const { shard: number, bundle } = received[index] as Received
      const { position, timeMs } = appended[index] as { position: string; timeMs: number }
      const shard = this.#shards[number] as Shard
      // entries of the next window, before the clock was looked at
      if (timeMs >= shard.end) {
        await this.#commit(
          this.#shards.filter(({ end }) => timeMs >= end),
          timeMs,
        )
      }
      shard.merge(bundle, position, timeMs)
    }
  }

  /** Appends, however often it takes: what was received is in nobody else's hands. */
  async #append(received: readonly Received[]): ReturnType<State['append']> {
    for (let pause = 100; ; pause = Math.min(pause * 2, 5_000)) {
      try {
        return await this.#state.append(received)
      } catch (error) {
        if (performance.now() > this.#givesUpMs) throw error
        this.#log.warn({ error: (error as Error).message }, 'cannot append to the log, will retry')
        await new Promise((resolve) => setTimeout(resolve, pause))
      }
    }
  }

  /** Commits the window at hand of some shards, and those after it that a time has passed. */
  async #commit(shards: readonly Shard[], nowMs: number): Promise<void> {
    const commits: Commit[] = []
    for (const shard of shards) {
      if (shard.dirty) {
        commits.push(shard.close())
        // encoding a large shard takes its time
        await new Promise((resolve) => setImmediate(resolve))
      }
      // after a pause, windows in which nothing was alive are not committed one by one
      if (nowMs >= shard.end) shard.open(nowMs)
    }
    if (commits.length === 0) return
    for (let pause = 100; ; pause = Math.min(pause * 2, 5_000)) {
      try {
        await this.#state.commit(commits)
        break
      } catch (error) {
        if (performance.now() > this.#givesUpMs) throw error
        this.#log.warn({ error: (error as Error).message }, 'cannot commit, will retry')
        await new Promise((resolve) => setTimeout(resolve, pause))
      }
    }
    this.#windows += commits.length
    for (const delivery of this.#deliveries) delivery.notify()
  }

  /** A gap that stays means that a message was dropped on its way: its publisher still has it for a while. */
  #askForMissing(): void {
    const now = performance.now()
    if (now - this.#lookedForMissingMs < MISSING_MS / 2) return
    this.#lookedForMissingMs = now
    for (const shard of this.#shards) {
      const { missing } = shard
      const asked = this.#asked.get(shard.shard)
      if (missing === 0 || asked === undefined || asked.missing !== missing) {
        if (missing !== asked?.missing) this.#asked.set(shard.shard, { missing, sinceMs: now })
      } else if (now - asked.sinceMs > MISSING_MS) {
        asked.sinceMs = Number.POSITIVE_INFINITY
        this.#source.requestReplay(shard.shard)
      }
    }
  }

  async #stop(): Promise<void> {
    const { targets } = this.#options
    const timeoutMs = this.#stopTimeoutMs
    let failure: Error | undefined
    this.#givesUpMs = performance.now() + LAST_CALL_MS + timeoutMs
    // what is half begun could not be let go of; a backend that hangs while it connects is not waited for longer
    await Promise.race([
      this.#starting?.catch(() => {}),
      new Promise((resolve) => setTimeout(resolve, timeoutMs).unref()),
    ])
    if (this.#loop !== undefined) {
      // publishers that stop at the same moment have their last frames under way
      const deadline = performance.now() + LAST_CALL_MS
      const quietSince = performance.now()
      while (performance.now() < deadline) {
        if (performance.now() - Math.max(quietSince, this.#source.lastMs) > QUIET_MS) break
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
    await this.#source.stop()
    if (this.#loop !== undefined) {
      this.#stopping = true
      this.#inbox.wake()
      try {
        await this.#loop
        // the window at hand ends early; what comes after a restart joins the next. A loop that broke left it in no known
        // state: there the log tells after a restart
        await this.#commit(this.#shards, 0)
      } catch (error) {
        failure = error as Error
      }
    }
    await Promise.all(this.#deliveries.map((delivery) => delivery.stop(timeoutMs)))
    const left = this.#deliveries.reduce((count, { figures }) => count + figures.pending, 0)
    if (left > 0 && !this.#state.durable)
      this.#log.warn({ windows: left }, 'stopping with windows that no backend took: lost')
    await Promise.all(targets.map((target) => this.#close(target, timeoutMs)))
    await this.#state.close()
    if (failure !== undefined) throw failure
  }

  /** A frame is counted whatever a backend that wants to see it makes of it. */
  #show(backend: Backend, frame: Frame): void {
    try {
      backend.receive?.(frame)
    } catch (error) {
      this.#log.warn({ backend: backend.name, error: (error as Error).message }, 'backend failed to receive a frame')
    }
  }

  /** A backend that fails or hangs keeps neither the others nor the state from being closed. */
  async #close({ backend, label }: Target, timeoutMs: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`it takes longer than ${timeoutMs} ms`)), timeoutMs)
    })
    try {
      await Promise.race([backend.close?.(), late])
    } catch (error) {
      this.#log.warn({ backend: label, error: (error as Error).message }, 'backend was not closed cleanly')
    } finally {
      clearTimeout(timer)
    }
  }
}
