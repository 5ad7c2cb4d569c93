import { SHARDS } from '../../client/wire/series.ts'
import { paced, pacer } from '../../client/pace.ts'
import { sleep } from '../../client/sleep.ts'
import { SharedState } from '../state/shared.ts'
import type { Commit, Position, State } from '../state/state.ts'
import { BrokerFeed } from './broker-feed.ts'
import { Delivery, type DeliveryLog, type Target, WindowCache } from './deliver.ts'
import type { Fed, Feed } from './feed.ts'
import type { WorkerFigures } from './figures.ts'
import { Gaps, MISSING_MS } from './gaps.ts'
import { Holdings } from './holdings.ts'
import { JournalFeed } from './journal-feed.ts'
import { type CheckedOptions, type WorkerOptions, checkOptions, sharedSettings } from './options.ts'
import { Ownership } from './ownership.ts'
import { within } from './patience.ts'
import type { Shard } from './shard.ts'
import { ShardFactory } from './shard-factory.ts'
import { Turns } from './turns.ts'

/** On stopping, how long the source must be quiet before it is closed, how long that is waited for, and how often it is looked. */
const QUIET_MS = 250
const LAST_CALL_MS = 1_000
const LAST_LOOK_MS = 50
/** The longest pause before a commit that failed is tried again. */
const LONGEST_PAUSE_MS = 1_000
/** How long a broker that is not there keeps a worker from taking its part. */
const CONNECTED_MS = 1_000
/** How long it takes until a subscription has reached brokers, and what they had sent before has arrived. */
const ON_ITS_WAY_MS = 150

/**
 * A flush worker: takes frames from brokers, appends them to its shards' logs, merges what the logs answered, and commits
 * each window's rollups to the outbox, from where they are delivered.
 *
 * One loop does all of this in order, so that memory is always the last snapshot plus the log up to a position.
 */
export class Worker implements AsyncDisposable {
  readonly #options: CheckedOptions
  readonly #state: State
  readonly #shared: SharedState | undefined
  readonly #log: DeliveryLog
  readonly #holdings: Holdings
  readonly #feed: Feed
  readonly #turns: Turns
  readonly #ownership: Ownership | undefined
  readonly #deliveries: readonly Delivery[]
  readonly #gaps = new Gaps()
  #starting: Promise<void> | undefined
  #loop: Promise<void> | undefined
  #stopped: Promise<void> | undefined
  #stopping = false
  // to others, who go on from the logs
  #leaving = false
  #windows = 0
  // shards share what they are written into as they close
  #closing: Promise<unknown> = Promise.resolve()
  // when a state that still fails is no longer tried, ms of `performance.now()`
  #givesUpMs = Number.POSITIVE_INFINITY

  /** @throws UsageError naming the option that makes no sense */
  constructor(options: WorkerOptions) {
    const checked = checkOptions(options)
    const { brokers, levels, curve, state, log, targets, percentiles } = checked
    this.#options = checked
    this.#state = state
    this.#shared = state instanceof SharedState ? state : undefined
    this.#log = log
    const givesUp = (): boolean => performance.now() > this.#givesUpMs
    const journal = this.#shared?.journal
    this.#feed =
      journal === undefined
        ? new BrokerFeed({ brokers, levels, curve, state, log, givesUp })
        : new JournalFeed({ journal, log, givesUp })
    this.#turns = new Turns(() => this.#feed.wake())
    const windows = new WindowCache(percentiles)
    const holds = (shard: number): boolean => this.#shared?.holds(shard) ?? true
    this.#deliveries = targets.map((target) => new Delivery(target, state, windows, log, holds))
    const holdings = new Holdings({
      state,
      shared: this.#shared,
      factory: new ShardFactory(checked, journal !== undefined),
      feed: this.#feed,
      turns: this.#turns,
      deliveries: this.#deliveries,
      log,
      merge: (entries) => this.#merge(entries, () => 0),
      commit: (shard, timeMs) => this.#commit([shard], () => timeMs),
      onFreed: () => this.#ownership?.look(),
    })
    this.#holdings = holdings
    if (this.#shared === undefined) return
    this.#ownership = new Ownership({
      state: this.#shared,
      log,
      held: () => holdings.numbers(),
      expect: (shards) => this.#feed.expect(shards),
      take: (shard) => holdings.take(shard),
      handOver: (shard) => holdings.handOver(shard, ON_ITS_WAY_MS),
    })
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
    const { group, targets } = this.#options
    const backends = targets.map(({ key }) => key)
    await this.#state.open({ group, backends, settings: sharedSettings(this.#options) })
    for (const { backend } of targets) {
      await backend.connect?.()
      if (this.#stopped !== undefined) throw new Error('worker: stopped while it started')
    }
    for (const delivery of this.#deliveries) delivery.start()
    for (let number = 0; this.#ownership === undefined && number < SHARDS; number++) await this.#holdings.open(number)
    // what remembers nothing cannot tell a replay from what it counted before it was restarted
    await this.#feed.start(this.#holdings.numbers(), this.#state.durable)
    this.#loop = this.#run()
    if (this.#ownership === undefined) return
    // others would give their shards to one that receives nothing yet
    const deadline = performance.now() + CONNECTED_MS
    const isReading = this.#shared?.journal !== undefined
    while (!isReading && this.#feed.connections === 0 && performance.now() < deadline) await sleep(5)
    await this.#ownership.start()
  }

  /** Resolves when the worker has stopped, or rejects with what ended it. */
  async finished(): Promise<void> {
    await this.#loop
  }

  /**
   * Takes in what is under way, commits, delivers for up to `stopTimeout`, and lets go of everything; where other workers go
   * on, they get its shards as they are. Idempotent.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  figures(): WorkerFigures {
    const figures = { ...this.#holdings.figures(), lost: 0, missing: 0, series: 0, publishers: 0 }
    for (const shard of this.#holdings.shards()) {
      figures.lost += shard.lost
      figures.missing += shard.missing
      figures.series += shard.series
      figures.publishers += shard.publishers
    }
    return {
      ...figures,
      windows: this.#windows,
      inboxBytes: this.#feed.bytes,
      connections: this.#feed.connections,
      shards: this.#holdings.size,
      backends: Object.fromEntries(this.#deliveries.map(({ target, figures: own }) => [target.label, own])),
    }
  }

  async #run(): Promise<void> {
    try {
      let clock = await this.#feed.clock()
      while (!this.#stopping || this.#feed.bytes > 0) {
        await this.#turns.run()
        const next = Math.min(...this.#holdings.shards().map(({ shard, end }) => end - clock(shard)))
        const longest = this.#stopped === undefined ? MISSING_MS : LAST_LOOK_MS
        const patience = this.#stopping ? 0 : Math.max(1, Math.min(next, longest))
        const entries = await this.#feed.next(patience)
        clock = await this.#feed.clock()
        await this.#merge(entries, clock)
        await this.#commitDue(clock)
        this.#gaps.look(this.#holdings.shards(), (shard) => this.#feed.askAgain(shard))
      }
    } finally {
      this.#turns.end(new Error('worker: it is stopping'))
    }
  }

  /**
   * Merges entries into the windows they are of, and commits what is over in between.
   *
   * @param clock nothing that stands behind these entries is older
   */
  async #merge(entries: readonly Fed[], clock: (shard: number) => number): Promise<void> {
    const breathe = pacer()
    let left = entries
    while (left.length > 0) {
      const later: Fed[] = []
      const firstMs = new Map<number, number>()
      for (const fed of left) {
        const { shard: number, bundle, position, timeMs } = fed
        // lost it may be by now
        const shard = this.#holdings.get(number)
        if (shard === undefined) continue
        if (shard.end === 0) shard.open(timeMs)
        if (timeMs >= shard.end) {
          later.push(fed)
          if (!firstMs.has(number)) firstMs.set(number, timeMs)
        } else shard.merge(bundle, position, timeMs)
        const pause = breathe()
        if (pause !== undefined) await pause
      }
      if (later.length > 0) await this.#commitDue((shard) => firstMs.get(shard) ?? clock(shard))
      left = later
    }
  }

  /** @param clock of each shard nothing older is to be merged any more */
  async #commitDue(clock: (shard: number) => number): Promise<void> {
    for (const shard of this.#holdings.shards()) {
      if (shard.end === 0 && clock(shard.shard) > 0) shard.open(clock(shard.shard))
    }
    const due = this.#holdings.shards().filter(({ shard, end }) => end > 0 && clock(shard) >= end)
    if (due.length > 0) await this.#commit(due, clock)
  }

  /** Commits the window at hand of some shards, and those after it that a time has passed. */
  async #commit(shards: readonly Shard[], clock: (shard: number) => number): Promise<void> {
    const commits = new Map<Shard, Commit>()
    for (const shard of shards) {
      if (shard.dirty) commits.set(shard, await this.#close(shard))
      // after a pause, windows in which nothing was alive are not committed one by one
      if (clock(shard.shard) >= shard.end) shard.open(clock(shard.shard))
    }
    if (commits.size > 0) await this.#write(commits)
    const passed = this.#current(shards).flatMap(({ shard, position }): [number, Position][] =>
      position === undefined || this.#shared?.holds(shard) === false ? [] : [[shard, position]],
    )
    await this.#feed.passed(new Map(passed))
  }

  /** One after the other, also those of shards that are restored beside the loop. */
  #close(shard: Shard): Promise<Commit> {
    const closed = this.#closing.then(() => paced(shard.closing()))
    this.#closing = closed.catch(() => {})
    return closed
  }

  /** Without those that another worker has by now, or that were acquired anew meanwhile and go on from an earlier commit. */
  #current(shards: Iterable<Shard>): Shard[] {
    return [...shards].filter((shard) => this.#holdings.isCurrent(shard))
  }

  async #write(commits: ReadonlyMap<Shard, Commit>): Promise<void> {
    for (let pause = 100; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      try {
        const current = this.#current(commits.keys())
        await this.#state.commit(current.map((shard) => commits.get(shard) as Commit))
        this.#windows += current.length
        break
      } catch (error) {
        if (this.#leaving) {
          for (const { shard } of commits.keys()) this.#holdings.abandon(shard)
          this.#log.warn({ error: (error as Error).message }, 'cannot commit, which is left to who has the shards next')
          break
        }
        if (performance.now() > this.#givesUpMs) throw error
        // what was committed of the others
        for (const delivery of this.#deliveries) delivery.notify()
        this.#log.warn({ error: (error as Error).message }, 'cannot commit, will retry')
        await sleep(pause)
      }
    }
    for (const delivery of this.#deliveries) delivery.notify()
  }

  async #stop(): Promise<void> {
    const { targets, stopTimeoutMs } = this.#options
    this.#givesUpMs = performance.now() + LAST_CALL_MS + stopTimeoutMs
    this.#ownership?.giveUpStart()
    // what is half begun could not be let go of; a backend that hangs while it connects is not waited for longer
    await within(
      stopTimeoutMs,
      this.#starting?.catch(() => {}),
    )
    let failure: Error | undefined
    try {
      const isLast = (await this.#ownership?.leave()) !== true
      this.#leaving = !isLast
      if (isLast && this.#loop !== undefined) await this.#hearLastCall()
      await within(stopTimeoutMs, this.#ownership?.stop())
      if (isLast && (this.#ownership?.others ?? 0) === 0) await this.#finish()
      else await this.#leaveToOthers()
    } catch (error) {
      failure = error as Error
    }
    await this.#ownership?.end()
    const left = this.#deliveries.reduce((count, { figures }) => count + figures.pending, 0)
    if (left > 0 && !this.#state.durable)
      this.#log.warn({ windows: left }, 'stopping with windows that no backend took: lost')
    await Promise.all(targets.map((target) => this.#disconnect(target)))
    await this.#state.close()
    if (failure !== undefined) throw failure
  }

  /** Others go on with all that is here, and have it at once. */
  async #leaveToOthers(): Promise<void> {
    this.#leaving = true
    const overlapMs = ON_ITS_WAY_MS + (this.#ownership?.beatMs ?? 0)
    const handedOver = this.#holdings.numbers().map((shard) => this.#holdings.handOver(shard, overlapMs))
    const delivered = this.#stopDeliveries()
    const outcomes = await Promise.allSettled(handedOver)
    await delivered
    await this.#endLoop()
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  }

  /** Nobody else is there: the window at hand ends early, and what comes for it after a restart joins the next. */
  async #finish(): Promise<void> {
    const isRunning = this.#loop !== undefined
    let failure: Error | undefined
    try {
      await this.#endLoop()
      // a loop that broke left it in no known state: there the log tells after a restart
      const open = this.#holdings.shards().filter(({ end }) => end > 0)
      if (isRunning) await this.#commit(open, () => 0)
    } catch (error) {
      failure = error as Error
    }
    const delivered = this.#stopDeliveries()
    // whoever comes meanwhile has the shards as soon as no backend has windows of theirs in hand
    await Promise.race([delivered, this.#ownership?.joined() ?? delivered])
    if (failure === undefined) await this.#holdings.giveUp()
    await delivered
    if (failure !== undefined) throw failure
  }

  async #stopDeliveries(): Promise<void> {
    await Promise.all(this.#deliveries.map((delivery) => delivery.stop(this.#options.stopTimeoutMs)))
  }

  /** Publishers that stop at the same moment have their last frames under way, other workers their shards. */
  async #hearLastCall(): Promise<void> {
    const since = performance.now()
    this.#feed.wake()
    while (performance.now() - since < LAST_CALL_MS && (this.#ownership?.others ?? 0) === 0) {
      const isQuiet = performance.now() - Math.max(since, this.#feed.lastMs) > QUIET_MS
      if (isQuiet && this.#holdings.size === SHARDS) return
      await sleep(10)
    }
  }

  async #endLoop(): Promise<void> {
    await this.#feed.stop()
    this.#stopping = true
    this.#feed.wake()
    await this.#loop
  }

  /** A backend that fails or hangs keeps neither the others nor the state from being closed. */
  async #disconnect({ backend, label }: Target): Promise<void> {
    const { stopTimeoutMs } = this.#options
    try {
      const closed = Promise.resolve(backend.close?.()).then(() => true)
      if ((await within(stopTimeoutMs, closed)) !== true) throw new Error(`it takes longer than ${stopTimeoutMs} ms`)
    } catch (error) {
      this.#log.warn({ backend: label, error: (error as Error).message }, 'backend was not closed cleanly')
    }
  }
}
