import { XPublisher } from 'zeromq'
import { encodeBundle } from '../../../client/wire/bundle.ts'
import { frameTopic } from '../../../client/wire/topic.ts'
import { until } from '../../until.ts'

/** A publisher that sends what it is told to, and keeps what is subscribed to. */
export class HandMade {
  readonly socket: XPublisher = new XPublisher({ linger: 0, verbosity: 'allSubs', sendHighWaterMark: 0 })
  /** Topics subscribed to, in order, each time anew. */
  readonly subscriptions: string[] = []
  /** Topics subscribed to now. */
  readonly topics: Set<string> = new Set()

  constructor(port: number) {
    this.socket.connect(`tcp://127.0.0.1:${port}`)
    void this.#watch()
  }

  /** Topics of replay requests. */
  get requests(): string[] {
    return this.subscriptions.filter((topic) => topic.startsWith('?'))
  }

  async send(shard: number, level: string, ...frames: readonly Uint8Array[]): Promise<void> {
    await this.socket.send([frameTopic(shard, level), encodeBundle(frames)])
  }

  subscribed(topic: string): Promise<void> {
    return until(() => this.subscriptions.includes(topic), `a subscription to ${topic}`)
  }

  async #watch(): Promise<void> {
    for await (const [message] of this.socket) {
      const topic = String(message?.subarray(1))
      if (message?.[0] === 0) this.topics.delete(topic)
      if (message?.[0] !== 1) continue
      this.topics.add(topic)
      this.subscriptions.push(topic)
    }
  }
}
