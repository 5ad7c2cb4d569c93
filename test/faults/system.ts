import { setTimeout } from 'node:timers/promises'
import { onTestFinished } from 'vitest'
import { connectRedis } from '../../backends/state/redis/connect.ts'
import type { Connection } from '../../backends/state/redis/connection.ts'
import { inspectGroup } from '../../backends/state/redis/inspect.ts'
import { parseRedisUrl } from '../../backends/state/redis/url.ts'
import { REPLAY_MS } from '../../client/transport/ring.ts'
import { Playground, type Program } from '../flow/processes.ts'
import { freePair } from '../free-port.ts'
import { until } from '../until.ts'
import { judge, missing } from './laws.ts'
import { type Account, Publisher, type PublisherOptions } from './publishers.ts'
import type { Random } from './random.ts'
import { Recorder } from './recorder.ts'
import { reported } from './reported.ts'
import { PATIENCE_MS, SEED } from './settings.ts'

export interface SystemOptions {
  readonly random: Random
  /** What `--state` takes. */
  readonly state: string
  readonly journal?: boolean
  /** Options of the backend's URL, each behind a `&`. */
  readonly backend?: string
  /** The longest delay of the backend. Default 20 s. */
  readonly longestDelayMs?: number
}

export interface WorkerOptions {
  readonly group?: string
  /** Default 1s. */
  readonly flush?: string
  /** Where its windows go, unless it is the system's. */
  readonly recorder?: Recorder
}

/**
 * How long publishers keep what they sent, with something to spare for what was sent and not yet in a log, and for the second that a
 * dead worker's lease goes on.
 */
const RING_MS = REPLAY_MS - 4_000

/** How long a worker has a shard until it has noticed what is missing, asked publishers for it, and has it in the log. */
const SETTLED_MS = 3_000

/** How often it is looked whose the shards are. */
const WATCH_MS = 200

/** Everything between programs that record and the recorder, as processes that may be killed. */
export class System implements AsyncDisposable {
  readonly ground: Playground = new Playground()
  readonly recorder: Recorder
  readonly workers: Program[] = []
  readonly publishers: Publisher[] = []
  broker: Program | undefined
  gateway: Program | undefined
  /** Whether Redis fails at any moment. */
  isRedisStormy: boolean = false
  /**
   * Whether some shard was nobody's for longer than publishers keep what they sent, as happens where a machine has too much to do:
   * then a worker that was killed may have taken something along, which is reported.
   */
  isBeyondRing: boolean = false
  /** What was done, in order. */
  readonly story: string[] = []
  // of workers
  readonly #http = new Map<Program, string | undefined>()
  readonly #options: SystemOptions
  readonly #brokerPort: number
  readonly #httpPort: number
  readonly #startedMs = performance.now()
  readonly #logs: { readonly name: string; readonly program: Program }[] = []
  // who has each shard, and since when
  readonly #owners = new Map<number, { readonly owner: string; readonly sinceMs: number }>()
  // those that one worker has had for long enough since anything was torn from a worker
  readonly #settled = new Set<number>()
  // when each was last somebody's and settled, from when it first was anybody's
  readonly #settledMs = new Map<number, number>()
  #watching: Promise<void> | undefined
  #isOver = false
  #isEnded = false
  #isReported = false

  private constructor(options: SystemOptions, recorder: Recorder, brokerPort: number, httpPort: number) {
    this.#options = options
    this.recorder = recorder
    this.#brokerPort = brokerPort
    this.#httpPort = httpPort
  }

  /** Starts a broker and, where wanted, a gateway; workers and publishers are started one by one. */
  static async start(options: SystemOptions): Promise<System> {
    const recorder = await Recorder.start(options.random.fork('recorder'), options.longestDelayMs)
    const system = new System(options, recorder, await freePair(), await freePair())
    onTestFinished(async ({ task }) => {
      if (system.#isEnded) return
      // a test that takes too long is not told so, and goes on
      if (task.result?.state === 'fail' && !system.#isReported) console.log(system.report(['the test did not end']))
      await system[Symbol.asyncDispose]()
    })
    await system.startBroker()
    await system.startGateway()
    if (options.journal !== true) system.#watching = system.#watch()
    return system
  }

  get hasJournal(): boolean {
    return this.#options.journal === true
  }

  get brokerUrl(): string {
    return `tcp://127.0.0.1:${this.#brokerPort}`
  }

  get gatewayUrl(): string {
    return `http://127.0.0.1:${this.#httpPort}`
  }

  tell(what: string): void {
    this.story.push(`${((performance.now() - this.#startedMs) / 1000).toFixed(2)} s: ${what}`)
  }

  async startBroker(): Promise<void> {
    const args = ['broker', '--port', String(this.#brokerPort), ...this.#journal()]
    this.broker = (await this.#start('broker', args)).program
  }

  async startGateway(): Promise<void> {
    const http = String(this.#httpPort)
    const args = ['gateway', '--broker', this.brokerUrl, '--http', http, '--udp', 'off', ...this.#journal()]
    this.gateway = (await this.#start('gateway', args)).program
  }

  async startWorker({ group = 'default', flush, recorder = this.recorder }: WorkerOptions = {}): Promise<Worker> {
    const { state, backend = '&timeout=2s', journal } = this.#options
    const to = `${recorder.url(backend)}&known-as=recorder`
    const where = ['--broker', this.brokerUrl, '--state', state, '--to', to, '--http', '0']
    const how = ['--group', group, '--flush', flush ?? '1s', ...(journal === true ? ['--journal'] : [])]
    const worker = await this.#start('worker', ['worker', ...where, ...how])
    this.workers.push(worker.program)
    this.#http.set(worker.program, worker.http)
    return worker
  }

  /** Says that something may have been torn from a worker, which takes whoever has its shards next some time to make good. */
  unsettle(): void {
    this.#owners.clear()
    this.#settled.clear()
  }

  /**
   * Waits until each shard is a worker's and has been for a while, if that was last so longer than `slackMs` ago. Without a journal
   * what a worker had in hand that was killed is with its publishers, for 15 s.
   */
  async covered(slackMs: number): Promise<void> {
    const isRecent = (): boolean => performance.now() - Math.min(...this.#settledMs.values()) <= slackMs
    await until(isRecent, "every shard is somebody's", PATIENCE_MS)
  }

  async startPublisher(options: PublisherOptions): Promise<Publisher> {
    const publisher = await Publisher.start(this.ground, options)
    this.publishers.push(publisher)
    this.#logs.push({ name: `publisher ${options.source}`, program: publisher.program })
    return publisher
  }

  /** A worker that is no longer one of those that may be killed next. */
  take(random: Random): Program {
    const worker = random.pick(this.workers)
    this.workers.splice(this.workers.indexOf(worker), 1)
    return worker
  }

  /** Has publishers stop to record, and waits until all that they know to be acknowledged has come out. */
  async settle(timeoutMs: number = PATIENCE_MS): Promise<Account[]> {
    this.recorder.calm = true
    const accounts = await this.#pause()
    if (this.isBeyondRing) return this.quieten()
    await this.flushed(accounts, timeoutMs).catch((error: Error) => this.tell(error.message.split('\n', 2).join(' ')))
    return accounts
  }

  /** Waits until all that is acknowledged now has come out, while everything goes on. */
  async catchUp(): Promise<void> {
    const { calm } = this.recorder
    this.recorder.calm = true
    const accounts = await Promise.all(this.publishers.map((publisher) => publisher.sure()))
    await this.flushed(accounts)
    this.recorder.calm = calm
  }

  /** Has a gateway that keeps no journal be stopped when nothing is in its hands alone, and another begin. */
  async restartGateway(stop: (gateway: Program) => Promise<void>): Promise<void> {
    const clients = this.publishers.filter(({ url }) => url === this.gatewayUrl)
    await Promise.all(clients.map((client) => client.pause()))
    await this.catchUp()
    if (this.gateway !== undefined) await stop(this.gateway)
    await this.startGateway()
    for (const client of clients) client.resume()
  }

  /** Resolves once all that was acknowledged has come out; rejects with what has not. */
  async flushed(
    accounts: readonly Account[],
    timeoutMs: number = PATIENCE_MS,
    recorder: Recorder = this.recorder,
  ): Promise<void> {
    let left: string[] = []
    // what may be lost for good is not waited for
    const isComplete = (): boolean => this.isBeyondRing || (left = missing(recorder, accounts)).length === 0
    try {
      await until(isComplete, 'all is flushed', timeoutMs)
    } catch (error) {
      const names = left.slice(0, 10).join(', ')
      const message = `${(error as Error).message}; ${left.length} series are not complete: ${names}`
      throw new Error(this.report([message]), { cause: error })
    }
  }

  /** Has publishers stop to record, and waits until nothing comes out any more, as when something may be lost. */
  async quieten(): Promise<Account[]> {
    this.recorder.calm = true
    const accounts = await this.#pause()
    // a meter comes out until it has decayed
    const isNews = ([key]: [string, unknown]): boolean => !key.startsWith('meter')
    const points = (): number =>
      [...this.recorder.points].filter(isNews).reduce((sum, [, windows]) => sum + windows.size, 0)
    let [before, since] = [points(), Date.now()]
    await until(
      () => {
        if (points() !== before) [before, since] = [points(), Date.now()]
        return Date.now() - since > 4_000
      },
      'nothing comes out any more',
      PATIENCE_MS,
    )
    return accounts
  }

  /** Ends every process, none of which may fail; then says what laws were broken. */
  async end(accounts: readonly Account[], loses: 'nothing' | 'perhaps'): Promise<string[]> {
    const broken: string[] = []
    const lost = this.isBeyondRing ? await this.#reported() : 0
    if (this.isBeyondRing) this.tell(`workers report ${lost} frames as lost`)
    const mayLose = lost > 0
    for (const publisher of this.publishers) await publisher.close()
    const [broker, gateway] = [this.broker, this.gateway]
    for (const program of [gateway, ...this.workers, broker]) {
      if (program === undefined) continue
      const ended = await program.stop()
      if (ended !== 0) broken.push(`pid ${program.pid} ended with ${ended} on SIGTERM`)
    }
    broken.push(...judge(this.recorder, accounts, mayLose ? 'perhaps' : loses))
    this.tell(`the end; ${mayLose || loses === 'perhaps' ? 'some of it may be lost' : 'all of it must have come out'}`)
    const points = [...this.recorder.points.values()].flatMap((windows) => [...windows.values()])
    const again = points.filter(({ pids }) => pids.length > 1).length
    const recorded = accounts
      .flatMap(({ attempted }) => [...attempted.values()])
      .reduce((sum, { count }) => sum + count, 0)
    console.log(
      `${recorded} measurements recorded, ${points.length} points of ${this.recorder.points.size} series came out, ` +
        `${again} of them more than once; backend: ${JSON.stringify(this.recorder.treated)}; ${this.story.at(-1)}`,
    )
    if (process.env['ZIBRATO_FAULTS_STORY'] === '1') console.log(this.report(broken))
    return broken
  }

  report(broken: readonly string[]): string {
    this.#isReported = true
    const tails = this.#logs.map(
      ({ name, program }) =>
        `--- ${name} ${program.pid}\n${program.stderr
          .split('\n')
          .slice(-Number(process.env['ZIBRATO_FAULTS_LINES'] ?? 25))
          .join('\n')}`,
    )
    const { treated, posts } = this.recorder
    return [
      `seed ${SEED}: ${broken.length} laws broken`,
      ...broken.slice(0, 40),
      `backend: ${JSON.stringify(treated)}, ${posts.length} accepted, the last of window ${posts.at(-1)?.end}`,
      ...this.story,
      ...tails,
    ].join('\n')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true
    await this.#watching
    await this.ground[Symbol.asyncDispose]()
    await this.recorder[Symbol.asyncDispose]()
    this.#isEnded = true
  }

  /** Looks again and again whose each shard is. */
  async #watch(): Promise<void> {
    const url = parseRedisUrl(this.#options.state)
    const redis = await connectRedis(url)
    while (!this.#isOver) {
      // what cannot be asked says of no shard that it is somebody's
      await this.#look(redis, url.prefix).catch(() => {})
      await setTimeout(WATCH_MS)
    }
    redis.close()
  }

  async #look(redis: Connection, prefix: string): Promise<void> {
    const { shards } = await inspectGroup(redis, prefix, 'default')
    const now = performance.now()
    for (const { shard, owner: id, epoch } of shards) {
      if (id === undefined) {
        this.#owners.delete(shard)
        continue
      }
      const owner = `${id} ${epoch}`
      const known = this.#owners.get(shard)
      const sinceMs = known?.owner === owner ? known.sinceMs : now
      this.#owners.set(shard, { owner, sinceMs })
      if (now - sinceMs >= SETTLED_MS) this.#settled.add(shard)
      const settledMs = this.#settledMs.get(shard) ?? now
      this.#settledMs.set(shard, this.#settled.has(shard) ? now : settledMs)
      if (now - settledMs > RING_MS && !this.isBeyondRing) {
        this.isBeyondRing = true
        this.tell('rings may not have reached back: what workers had in hand may be lost, and then is reported')
      }
    }
  }

  /** Frames that never came, as workers say; what is lost and not reported breaks a law. */
  async #reported(): Promise<number> {
    const figures = await Promise.all(this.workers.map((worker) => reported(this.#http.get(worker))))
    return figures.reduce((sum, figure) => sum + figure, 0)
  }

  /** Has every publisher pause. */
  async #pause(): Promise<Account[]> {
    try {
      return await Promise.all(this.publishers.map((publisher) => publisher.pause()))
    } catch (error) {
      const gateway = await fetch(`${this.gatewayUrl}/metrics`).then((answer) => answer.text(), String)
      this.tell(`the gateway says: ${gateway.replace(/^#.*\n/gm, '')}`)
      throw new Error(this.report(['publishers cannot get rid of what they recorded']), { cause: error })
    }
  }

  #journal(): string[] {
    const { journal, state } = this.#options
    return journal === true ? ['--journal', '--state', state] : []
  }

  async #start(name: string, args: readonly string[]): Promise<Worker> {
    const { program, listening } = await this.ground.zibrato(...args)
    this.#logs.push({ name, program })
    this.tell(`${name} ${program.pid} listens`)
    return { program, http: listening.http }
  }
}

/** A process and where its figures are. */
export interface Worker {
  readonly program: Program
  readonly http: string | undefined
}
