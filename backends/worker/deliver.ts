import { anySignal } from '../../client/signal.ts'
import type { Backend, PermanentError, RetryLaterError, Rollup, Window } from '../backend.ts'
import type { OutboxEntry, State } from '../state/state.ts'
import type { InDoubt } from '../url.ts'
import { orAborted } from '../abort.ts'
import { decodeWindow } from './rollup.ts'

/** Encoded rollups handed over at once; decoded they take a multiple of it. */
const FLUSH_BYTES = 16 << 20
const FIRST_BACKOFF_MS = 500
const LONGEST_BACKOFF_MS = 60_000
/** How soon it is looked at again whose a shard is when that is not known. */
const LOST_PAUSE_MS = 50
// a longer timer fires at once
const LONGEST_PAUSE_MS = 2 ** 31 - 1

export interface Target {
  readonly backend: Backend
  /** By what state remembers it. */
  readonly key: string
  /** For logs. */
  readonly label: string
  readonly inDoubt: InDoubt
  /** How long one flush may take, ms. */
  readonly timeoutMs: number
  /** Pause after the first failure, ms; it doubles with each up to a minute. Default 500. */
  readonly backoffMs?: number | undefined
}

export interface DeliveryLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

/** What became of windows at one backend. */
export interface DeliveryFigures {
  delivered: number
  rollups: number
  failures: number
  /** Windows refused for good, whole or in part. */
  refused: number
  /** Rollups refused for good. */
  rollupsRefused: number
  /** In doubt after a crash, and not sent again. */
  doubted: number
  pending: number
  /** The last failure in words, until the next success. */
  error: string | undefined
}

/**
 * Hands committed windows to one backend, oldest first, until it has accepted them. Backends do not wait for each other.
 * An attempt is marked before it starts, so that after a crash it is known which windows are in doubt.
 */
export class Delivery {
  readonly target: Target
  readonly figures: DeliveryFigures = {
    delivered: 0,
    rollups: 0,
    failures: 0,
    refused: 0,
    rollupsRefused: 0,
    doubted: 0,
    pending: 0,
    error: undefined,
  }
  readonly #state: State
  readonly #windows: WindowCache
  readonly #log: DeliveryLog
  readonly #holds: (shard: number) => boolean
  #running: Promise<void> | undefined
  #stopping = false
  readonly #abort = new AbortController()
  #wake: (() => void) | undefined
  #interrupt: (() => void) | undefined
  #awake = false
  // what failed comes again as it was, though other shards may have committed the same window since
  #again: readonly OutboxEntry[] = []
  // shards that are being handed over
  readonly #withheld = new Set<number>()
  #attempting: readonly OutboxEntry[] = []
  #attempt = new AbortController()
  #attempted: (() => void)[] = []

  /** @param holds whether a shard is certainly this worker's still */
  constructor(
    target: Target,
    state: State,
    windows: WindowCache,
    log: DeliveryLog,
    holds: (shard: number) => boolean = () => true,
  ) {
    this.target = target
    this.#state = state
    this.#windows = windows
    this.#log = log
    this.#holds = holds
  }

  start(): void {
    this.#running ??= this.#run()
  }

  /** Says that something was committed. */
  notify(): void {
    this.#awake = true
    this.#wake?.()
  }

  /** Delivers windows of a shard, also one that was withheld. */
  add(shard: number): void {
    this.#withheld.delete(shard)
    this.notify()
  }

  /**
   * Begins no attempt any more with a shard's windows. Resolves when none is under way: the shard's next owner would have to
   * take it for one that a crash cut short.
   */
  async withhold(shard: number): Promise<void> {
    this.#withheld.add(shard)
    if (!this.#attempting.some((entry) => entry.shard === shard)) return
    await new Promise<void>((resolve) => this.#attempted.push(resolve))
  }

  /** Shards are another worker's by now: an attempt with nothing but their windows is given up if others will make it again. */
  lost(): void {
    if (this.target.inDoubt !== 'resend' || this.#attempting.some(({ shard }) => this.#holds(shard))) return
    this.#attempt.abort(new Error('another worker delivers it'))
  }

  /** Delivers what is there, for up to `timeoutMs`; the rest stays in the outbox. */
  async stop(timeoutMs: number): Promise<void> {
    this.#stopping = true
    const timer = setTimeout(() => {
      this.#abort.abort(new Error('the worker is stopping'))
      this.#interrupt?.()
    }, timeoutMs)
    // a pause after a failure ends too: this is the last chance
    this.notify()
    this.#interrupt?.()
    await this.#running
    clearTimeout(timer)
  }

  async #run(): Promise<void> {
    let pause = 0
    while (!this.#abort.signal.aborted) {
      let entries: readonly OutboxEntry[] = []
      try {
        entries = await this.#next()
        pause = entries.length === 0 ? 0 : await this.#try(entries, pause)
      } catch (error) {
        // the state failed, not the backend
        this.#log.warn({ backend: this.target.label, error: (error as Error).message }, 'cannot use the outbox')
        pause = this.#backoffMs
      }
      if (entries.length === 0 && pause === 0) {
        if (this.#stopping) return
        await this.#sleep(undefined)
      } else if (pause > 0) {
        await this.#sleep(pause)
      }
    }
  }

  /** Entries of the oldest window that waits for this backend: all of them, or as many as go at once. */
  async #next(): Promise<readonly OutboxEntry[]> {
    const isDoubted = ({ attempted }: OutboxEntry): boolean => attempted.includes(this.target.key)
    let pending = await this.#pending()
    const doubted = pending.filter(isDoubted)
    if (doubted.length > 0) {
      await this.#settleDoubts(doubted.map(({ id }) => id))
      // a shard that is taken over meanwhile may bring more, and says so
      pending = (await this.#pending()).filter((entry) => !isDoubted(entry))
    }
    this.figures.pending = pending.length
    const waiting = new Set(pending.map(({ id }) => id))
    // unless the outbox dropped it
    if (this.#again.length > 0 && this.#again.every(({ id }) => waiting.has(id))) return this.#again
    const taken: OutboxEntry[] = []
    const limit = this.target.backend.wholeWindows === true ? Number.POSITIVE_INFINITY : FLUSH_BYTES
    let bytes = 0
    // oldest first, so the entries of one end stand together
    for (const entry of pending) {
      if (entry.end !== pending[0]?.end || (bytes > 0 && bytes + entry.bytes > limit)) break
      taken.push(entry)
      bytes += entry.bytes
    }
    return taken
  }

  /** What waits for this backend. */
  async #pending(): Promise<OutboxEntry[]> {
    return (await this.#state.outbox()).filter(
      ({ pending, shard }) => pending.includes(this.target.key) && !this.#withheld.has(shard),
    )
  }

  /** Answers how long to pause before the next attempt. */
  async #try(entries: readonly OutboxEntry[], pauseBefore: number): Promise<number> {
    // withheld while they were listed
    if (entries.some(({ shard }) => this.#withheld.has(shard))) return 0
    this.#attempting = entries
    this.#attempt = new AbortController()
    try {
      return await this.#flush(entries, pauseBefore)
    } finally {
      this.#attempting = []
      for (const resolve of this.#attempted.splice(0)) resolve()
    }
  }

  async #flush(entries: readonly OutboxEntry[], pauseBefore: number): Promise<number> {
    const { backend, key, label, timeoutMs } = this.target
    const ids = entries.map(({ id }) => id)
    this.#again = entries
    const window = await this.#windows.load(this.#state, ids)
    try {
      await this.#state.attempt(key, ids)
    } catch (error) {
      // some may be marked: whoever has them next is not to take them for windows that a backend may have
      await this.#insist('release', ids)
      throw error
    }
    // a shard that was lost meanwhile is another worker's to deliver, and the others' windows are in nobody's hands
    if (!entries.every(({ shard }) => this.#holds(shard))) {
      await this.#insist('release', ids)
      return LOST_PAUSE_MS
    }
    const signal = anySignal(AbortSignal.timeout(timeoutMs), this.#abort.signal, this.#attempt.signal)
    try {
      // a module of plain JavaScript may answer with no promise
      const flushed = Promise.resolve(backend.flush(window, signal))
      // given up on, it may still fail
      flushed.catch(() => {})
      await orAborted(flushed, signal)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.figures.failures++
      this.figures.error = reason
      // by name: a backend's module may bring a copy of this package of its own
      const name = error instanceof Error ? error.name : ''
      if (name === 'PermanentError') {
        const all = window.rollups.length
        const refused = Math.min(all, (error as PermanentError).refused ?? all)
        this.figures.refused++
        this.figures.rollupsRefused += refused
        this.figures.rollups += all - refused
        this.#log.warn(
          { backend: label, window: window.end, series: refused, of: all, error: reason },
          'refused for good, dropped',
        )
        await this.#insist('settle', ids)
        return 0
      }
      this.#log.warn({ backend: label, window: window.end, error: reason }, 'flush failed, will retry')
      await this.#insist('release', ids)
      const later = name === 'RetryLaterError' ? Number((error as RetryLaterError).retryAfterMs) : 0
      if (later > 0) return Math.min(LONGEST_PAUSE_MS, later)
      const doubled = Math.min(LONGEST_BACKOFF_MS, Math.max(this.#backoffMs, pauseBefore * 2))
      return doubled * (0.75 + Math.random() / 4)
    }
    await this.#insist('settle', ids)
    this.figures.delivered++
    this.figures.rollups += window.rollups.length
    this.figures.error = undefined
    return 0
  }

  get #backoffMs(): number {
    return this.target.backoffMs ?? FIRST_BACKOFF_MS
  }

  /**
   * Settles or releases, however often it takes: a window that was accepted must not be handed over again, nor one that was not
   * be taken by its shard's next owner for one that perhaps was.
   */
  async #insist(mark: 'settle' | 'release', ids: readonly string[]): Promise<void> {
    if (mark === 'settle') this.#again = []
    const { key, label } = this.target
    for (;;) {
      try {
        await this.#state[mark](key, ids)
        return
      } catch (error) {
        // left as attempted, it is in doubt after a restart
        if (this.#abort.signal.aborted) throw error
        const how = mark === 'settle' ? 'settled' : 'not delivered'
        this.#log.warn(
          { backend: label, error: (error as Error).message },
          `cannot mark a window as ${how}, will retry`,
        )
        await this.#sleep(this.#backoffMs)
      }
    }
  }

  /** Decides about attempts of a process that ended without a word. */
  async #settleDoubts(doubted: readonly string[]): Promise<void> {
    const { inDoubt, key, label } = this.target
    if (inDoubt === 'resend') {
      await this.#state.release(key, doubted)
      this.#log.info({ backend: label, entries: doubted.length }, 'in doubt after a crash, sent again')
      return
    }
    await this.#state.settle(key, doubted)
    this.figures.doubted += doubted.length
    this.#log.warn({ backend: label, entries: doubted.length }, 'in doubt after a crash, dropped (in-doubt=drop)')
  }

  /** Sleeps for a time, or until {@link notify}; stopping cuts either short. */
  async #sleep(ms: number | undefined): Promise<void> {
    if (this.#abort.signal.aborted) return
    if (ms === undefined && this.#awake) {
      this.#awake = false
      return
    }
    let timer: ReturnType<typeof setTimeout> | undefined
    await new Promise<void>((resolve) => {
      this.#interrupt = resolve
      if (ms === undefined) this.#wake = resolve
      else timer = setTimeout(resolve, ms)
    })
    clearTimeout(timer)
    this.#interrupt = undefined
    this.#wake = undefined
    if (ms === undefined) this.#awake = false
  }
}

/** Decodes windows; the newest is kept for the other backends that take it next. */
export class WindowCache {
  readonly #percentiles: readonly number[]
  #id = ''
  #window: Promise<Window> | undefined

  constructor(percentiles: readonly number[]) {
    this.#percentiles = percentiles
  }

  load(state: State, ids: readonly string[]): Promise<Window> {
    const id = ids.join(' ')
    if (this.#window !== undefined && this.#id === id) return this.#window
    this.#id = id
    const window = this.#decode(state, ids)
    this.#window = window
    window.catch(() => {
      if (this.#window === window) this.#window = undefined
    })
    return window
  }

  async #decode(state: State, ids: readonly string[]): Promise<Window> {
    let rollups: Rollup[] = []
    let [start, end] = [0, 0]
    for (const id of ids) {
      const part = await decodeWindow(await state.load(id), this.#percentiles)
      start = part.start
      end = part.end
      rollups = rollups.length === 0 ? part.rollups : rollups.concat(part.rollups)
    }
    return { start, end, rollups }
  }
}
