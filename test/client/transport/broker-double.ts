import { XSubscriber } from 'zeromq'
import { eachFrame } from '../../../client/wire/bundle.ts'
import { type Frame, decodeFrame } from '../../../client/wire/frame.ts'
import { BEAT, BEAT_MS, BROKER_TOPIC, PING_PREFIX, PONG_PREFIX } from '../../../client/wire/topic.ts'
import { Sum } from '../../../client/sketch/aggregate.ts'
import { freePort } from '../../free-port.ts'
import { until } from '../../until.ts'

/** A broker's publishers' port, and nothing behind it: what arrives is kept. */
export class BrokerDouble {
  readonly frames: Frame[] = []
  readonly topics: string[] = []
  readonly #greets: boolean
  #socket: XSubscriber | undefined
  #port = 0
  #beat: ReturnType<typeof setInterval> | undefined

  /**
   * @param greets whether it greets, beats and answers pings, as a broker of ours does and a foreign one does not
   * @param port where; 0 picks one, which is free again after {@link kill}
   */
  constructor(greets = true, port = 0) {
    this.#greets = greets
    this.#port = port
  }

  get url(): string {
    return `tcp://127.0.0.1:${this.#port}`
  }

  /** Listens, at the same port as before if there was one. */
  async start(...prefixes: string[]): Promise<this> {
    const socket = new XSubscriber({ linger: 0, sendHighWaterMark: 0 })
    if (this.#port === 0) this.#port = await freePort()
    await until(async () => {
      try {
        await socket.bind(`tcp://127.0.0.1:${this.#port}`)
        return true
      } catch {
        return false
      }
    }, 'the port is free')
    this.#socket = socket
    void this.#receive(socket)
    if (this.#greets) {
      await this.subscribe(BROKER_TOPIC)
      this.#beat = setInterval(() => void socket.send(BEAT), BEAT_MS)
    }
    for (const prefix of prefixes) await this.subscribe(prefix)
    return this
  }

  async subscribe(prefix: string): Promise<void> {
    await this.#socket?.send(Buffer.from(`\u0001${prefix}`, 'latin1'))
  }

  async unsubscribe(prefix: string): Promise<void> {
    await this.#socket?.send(Buffer.from(`\u0000${prefix}`, 'latin1'))
  }

  /** Is gone, as a killed process is. */
  kill(): void {
    clearInterval(this.#beat)
    this.#socket?.close()
    this.#socket = undefined
  }

  /** What counters of a name add up to, each frame taken once, as a worker does. */
  sum(name: string, level?: string): number {
    const seen = new Set<string>()
    let sum = 0
    for (const frame of this.frames) {
      const id = `${frame.publisher} ${frame.level} ${frame.shard} ${frame.seq}`
      if (seen.has(id) || (level !== undefined && frame.level !== level)) continue
      seen.add(id)
      for (const { series, aggregate } of frame.entries) {
        if (series.name === name && aggregate instanceof Sum) sum += aggregate.value
      }
    }
    return sum
  }

  async #receive(socket: XSubscriber): Promise<void> {
    try {
      for await (const [topic, bundle] of socket) {
        if (String(topic).startsWith(PING_PREFIX)) {
          if (this.#greets) await socket.send(PONG_PREFIX + String(topic).slice(PING_PREFIX.length))
          continue
        }
        this.topics.push(String(topic))
        if (bundle !== undefined) eachFrame(bundle, (start, end) => this.frames.push(decodeFrame(bundle, start, end)))
      }
    } catch (error) {
      if (!socket.closed) throw error
    }
  }
}
