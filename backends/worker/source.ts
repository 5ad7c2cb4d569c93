import { randomBytes } from 'node:crypto'
import type { Subscriber } from 'zeromq'
import { type CurveKeys, socketOptions } from '../../client/curve.ts'
import { UsageError } from '../../client/errors.ts'
import { pacer } from '../../client/pace.ts'
import { frameTopic, replayTopic, shardTopic, topicShard, watchTopic } from '../../client/wire/topic.ts'
import type { Received } from './inbox.ts'

export interface SourceOptions {
  /** Brokers by their publishers' port, `tcp://host:5550`; subscribers' is one more. */
  readonly brokers: readonly string[]
  /** Levels to take; all when undefined. */
  readonly levels?: readonly string[] | undefined
  readonly curve?: CurveKeys | undefined
  /** Takes what arrives; nothing more is received until what it answers, if anything, resolves. */
  readonly onBundle: (received: Received) => Promise<void> | undefined
}

/** Where subscribers of a broker connect, given where its publishers do. */
export function subscribersUrl(broker: string): string {
  const match = /^tcp:\/\/(.+):(\d+)$/.exec(broker)
  const port = Number(match?.[2])
  if (match === null || port < 1 || port > 65_534) {
    throw new UsageError(`broker ${JSON.stringify(broker)} must look like tcp://127.0.0.1:5550`)
  }
  return `tcp://${match[1] as string}:${port + 1}`
}

/** Receives the frames of some shards from one or more brokers. */
export class Source {
  readonly #options: SourceOptions
  readonly #urls: readonly string[]
  #socket: Subscriber | undefined
  #running: Promise<void> | undefined
  // the replay request of each shard, repeated by libzmq after every reconnect
  readonly #requests = new Map<number, string>()
  readonly #shards = new Set<number>()
  // those that are to be this worker's
  readonly #watched = new Set<number>()
  #connections = 0
  /** Messages that are neither frames nor text lines. */
  strange = 0
  /** When the last message came, ms of `performance.now()`. */
  lastMs = 0

  /** @throws UsageError for a broker that is no such URL */
  constructor(options: SourceOptions) {
    this.#options = options
    this.#urls = options.brokers.map(subscribersUrl)
  }

  /** Brokers connected to now. */
  get connections(): number {
    return this.#connections
  }

  /**
   * Connects and subscribes.
   *
   * @param replay whether to ask for what publishers have kept; else only from the first reconnect on
   */
  async start(shards: readonly number[], replay: boolean): Promise<void> {
    const { Subscriber } = await import('zeromq')
    const { curve } = this.#options
    const urls = this.#urls
    const socket = new Subscriber({
      receiveHighWaterMark: 20_000,
      linger: 0,
      ...socketOptions(urls, curve),
    })
    this.#socket = socket
    let asked = replay
    const known = new Set<string>()
    socket.events.on('handshake', ({ address }) => {
      this.#connections++
      // once asked for, libzmq repeats the request itself with the other subscriptions
      if (known.has(address) && !asked) {
        asked = true
        for (const shard of this.#shards) this.requestReplay(shard)
      }
      known.add(address)
    })
    socket.events.on('disconnect', () => {
      this.#connections = Math.max(0, this.#connections - 1)
    })
    for (const shard of shards) {
      this.#shards.add(shard)
      socket.subscribe(...this.#topics(shard))
      if (replay) this.requestReplay(shard)
    }
    for (const url of urls) socket.connect(url)
    this.#running = this.#receive(socket)
  }

  /**
   * Sees what comes of a shard and takes nothing: what nobody takes waits with its publishers, for however long. Were it taken,
   * they would forget it 15 s later, though nobody has it.
   */
  watch(shard: number): void {
    if (this.#shards.has(shard) || this.#watched.has(shard)) return
    this.#watched.add(shard)
    this.#socket?.subscribe(watchTopic(shard))
  }

  /** Takes one more shard, and asks for what publishers have kept of it. */
  add(shard: number): void {
    if (!this.#shards.has(shard)) {
      this.#shards.add(shard)
      this.#socket?.subscribe(...this.#topics(shard))
    }
    if (this.#watched.delete(shard)) this.#socket?.unsubscribe(watchTopic(shard))
    this.requestReplay(shard)
  }

  /** Asks for nothing more of a shard; what is on its way still comes. */
  remove(shard: number): void {
    if (this.#watched.delete(shard)) this.#socket?.unsubscribe(watchTopic(shard))
    if (!this.#shards.delete(shard)) return
    this.#socket?.unsubscribe(...this.#topics(shard))
    const request = this.#requests.get(shard)
    if (request !== undefined) this.#socket?.unsubscribe(request)
    this.#requests.delete(shard)
  }

  /** Asks every publisher to send once more what it has kept of a shard. */
  requestReplay(shard: number): void {
    const previous = this.#requests.get(shard)
    const topic = replayTopic(shard, randomBytes(8).toString('hex'))
    this.#requests.set(shard, topic)
    this.#socket?.subscribe(topic)
    if (previous !== undefined) this.#socket?.unsubscribe(previous)
  }

  /** Takes in nothing more. */
  async stop(): Promise<void> {
    this.#socket?.close()
    await this.#running
    // a closed socket says nothing more of its connections
    this.#connections = 0
  }

  #topics(shard: number): string[] {
    const { levels } = this.#options
    return levels === undefined ? [shardTopic(shard)] : levels.map((level) => frameTopic(shard, level))
  }

  async #receive(socket: Subscriber): Promise<void> {
    const breathe = pacer()
    while (!socket.closed) {
      try {
        socket.receiveTimeout = -1
        let message = await socket.receive()
        // with no time to wait, `receive` does not ask zeromq first whether there is something
        socket.receiveTimeout = 0
        for (;;) {
          const room = this.#take(message)
          if (room !== undefined) await room
          const pause = breathe()
          if (pause !== undefined) await pause
          message = await socket.receive()
        }
      } catch (error) {
        if (!socket.closed && (error as { code?: string }).code !== 'EAGAIN') throw error
      }
    }
  }

  /** Answers what to wait for before the next message. */
  #take([topic, bundle, ...rest]: readonly Buffer[]): Promise<void> | undefined {
    const { levels, onBundle } = this.#options
    this.lastMs = performance.now()
    const shard = topic !== undefined && topic[0] === 0x23 ? topicShard(topic.toString('latin1', 0, 4)) : -1
    if (topic === undefined || shard < 0 || bundle === undefined || rest.length > 0) {
      this.strange++
      return undefined
    }
    // who watches a shard sees all of its levels
    if (levels?.includes(topic.toString('utf8', 4, topic.length - 1)) === false) return undefined
    return onBundle({ shard, bundle })
  }
}
