import { createServer } from 'node:net'
import { XPublisher, XSubscriber } from 'zeromq'
import { UsageError } from '../../client/errors.ts'
import { type ListenAddress, checkPort, hostAndPort, listenError, resolveListenHost } from '../listen/address.ts'
import { Peers } from './peers.ts'
import { Pulse } from './pulse.ts'
import { type BrokerStats, brokerMetrics } from './stats.ts'
import { Subscriptions } from './subscriptions.ts'
import { Traffic } from './traffic.ts'

export interface BrokerOptions {
  /** An address of this machine; default `127.0.0.1`. */
  readonly host?: string
  /** Publishers connect here, subscribers at the next one; default 5550, 0 picks two free ones. */
  readonly port?: number
  /** Listen beyond this machine without CURVE: whoever reaches the ports can read and write. */
  readonly insecure?: boolean
  /**
   * 40 characters of Z85, as `curveKeyPair()` of zeromq makes them: connections are then encrypted, and only who has the
   * matching public key can connect. That key therefore is to be kept from strangers: no list of clients is checked.
   */
  readonly curveSecretKey?: string
  /** The matching public key; only needed by those who connect, so here it may be left out. */
  readonly curvePublicKey?: string
  /**
   * Messages kept for a subscriber that takes them more slowly than they come, and for a publisher while the broker is
   * busy; default 20,000 each. What a stopped subscriber holds of the broker's memory is at most this many messages.
   */
  readonly sendHighWaterMark?: number
  /** Told one line about what an operator should know, each kind at most every 10 s; default: nobody. */
  readonly onWarning?: (message: string) => void
}

const Z85_KEY = /^[0-9A-Za-z.\-:+=^!/*?&<>()[\]{}@%$#]{40}$/
/** Messages forwarded before other work of the process gets its turn. */
const BURST = 500
const MESSAGE_BYTES = 16 * 1024 * 1024
const WARNING_MS = 10_000
/** How long `stop` waits for what is received to be forwarded, and zeromq afterwards for it to be sent. */
const DRAIN_MS = 1_000

/**
 * Forwards what publishers send at `port` to whom it may concern at `port + 1`, and subscriptions the other way.
 *
 * ```
 * publishers --> XSUB port --> count --> XPUB port + 1 --> subscribers
 *            <--- subscriptions, replay requests <--------
 * ```
 */
export class Broker implements AsyncDisposable {
  readonly #options: BrokerOptions
  readonly #host: string
  #port: number
  #xsub: XSubscriber | undefined
  #xpub: XPublisher | undefined
  #traffic = new Traffic()
  #subscriptions = new Subscriptions()
  #publishers = new Peers()
  #subscribers = new Peers()
  #droppedForSlow = 0
  #warned = new Map<string, number>()
  #pulse: Pulse | undefined
  #stopping: Promise<void> | undefined

  /** @throws UsageError for a port or key that is none */
  constructor(options: BrokerOptions = {}) {
    this.#options = options
    this.#host = options.host ?? '127.0.0.1'
    this.#port = options.port ?? 5550
    checkPort('broker', this.#port, 65_534)
    for (const name of ['curveSecretKey', 'curvePublicKey'] as const) {
      const key = options[name]
      if (key !== undefined && !Z85_KEY.test(key)) {
        throw new UsageError(
          `broker: ${name} is no CURVE key; give the 40 characters that zeromq's curveKeyPair() makes`,
        )
      }
    }
    if (options.curvePublicKey !== undefined && options.curveSecretKey === undefined) {
      throw new UsageError('broker: curvePublicKey does nothing by itself; give curveSecretKey')
    }
  }

  /** Where publishers connect; known once started. */
  get port(): number {
    return this.#port
  }

  /** Where subscribers connect. */
  get subscribersPort(): number {
    return this.#port + 1
  }

  /**
   * Resolves once both ports are bound.
   *
   * @throws UsageError when the host has no address, or others could reach it and neither CURVE nor `insecure` is there
   * @throws ZibratoError with code `ERR_LISTEN` when a port is taken or cannot be bound
   */
  async start(): Promise<void> {
    if (this.#xsub !== undefined) throw new UsageError('broker: is started already; make a new one')
    const address = await resolveListenHost('broker', this.#host)
    if (!address.loopback && this.#options.curveSecretKey === undefined && this.#options.insecure !== true) {
      throw new UsageError(
        `broker: ${hostAndPort(this.#host, this.#port)} is open to others; give CURVE keys (curveSecretKey) or say --insecure`,
      )
    }
    const [xsub, xpub] = await this.#bind(address)
    this.#pulse = new Pulse(xsub, () => this.#publishers.count)
    void this.#forward(xsub, xpub)
    void this.#passSubscriptions(xsub, xpub)
  }

  stats(): BrokerStats {
    return {
      messages: this.#traffic.messages,
      bytes: this.#traffic.bytes,
      textLines: this.#traffic.textLines,
      frames: this.#traffic.frames(),
      invalid: this.#traffic.invalid + this.#subscriptions.invalid,
      droppedForSlow: this.#droppedForSlow,
      publishers: this.#publishers.count,
      subscribers: this.#subscribers.count,
      refusedPeers: this.#publishers.refused + this.#subscribers.refused,
      subscriptions: this.#subscriptions.active,
      subscriptionsSeen: this.#subscriptions.seen,
      subscriptionsRefused: this.#subscriptions.refused,
    }
  }

  /** {@link stats} as Prometheus' text. */
  metrics(): string {
    return brokerMetrics(this.stats())
  }

  /**
   * Goes on forwarding while publishers are connected, `graceMs` (default 0) at most; then takes in nothing new, forwards
   * what was received and lets go of the ports. Idempotent.
   */
  stop(options: { readonly graceMs?: number } = {}): Promise<void> {
    this.#stopping ??= this.#stop(options.graceMs ?? 0)
    return this.#stopping
  }

  /** `stop()`. */
  close(): Promise<void> {
    return this.stop()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #bind(address: ListenAddress): Promise<[XSubscriber, XPublisher]> {
    const wanted = this.#port
    // the port after a free one may be taken; another pair is not hard to find
    for (let attempt = wanted === 0 ? 1 : 50; ; attempt++) {
      const [xsub, xpub] = this.#sockets(address)
      let port = wanted
      try {
        await xsub.bind(`tcp://${hostAndPort(address.address, 0).replace(/0$/, wanted === 0 ? '*' : String(wanted))}`)
        port = Number(xsub.lastEndpoint?.split(':').pop())
        await xpub.bind(`tcp://${hostAndPort(address.address, ++port)}`)
        this.#xsub = xsub
        this.#xpub = xpub
        this.#port = port - 1
        return [xsub, xpub]
      } catch (cause) {
        xsub.close()
        xpub.close()
        if (attempt >= 50) throw listenError('broker', this.#host, port, cause)
      }
    }
  }

  #sockets(address: ListenAddress): [XSubscriber, XPublisher] {
    const mark = this.#options.sendHighWaterMark ?? 20_000
    const common = {
      ipv6: address.ipv6,
      linger: DRAIN_MS,
      backlog: 511,
      handshakeInterval: 10_000,
      // a host that is gone is noticed within two minutes; one whose program is only stopped is not given up
      tcpKeepalive: 1,
      tcpKeepaliveIdle: 60,
      tcpKeepaliveInterval: 10,
      tcpKeepaliveCount: 6,
      ...(this.#options.curveSecretKey === undefined
        ? {}
        : { curveServer: true, curveSecretKey: this.#options.curveSecretKey }),
    }
    const xsub = new XSubscriber({
      ...common,
      receiveHighWaterMark: mark,
      // subscriptions: one that did not fit would be lost without a word
      sendHighWaterMark: 0,
      sendTimeout: 0,
      maxMessageSize: MESSAGE_BYTES,
    })
    const xpub = new XPublisher({
      ...common,
      sendHighWaterMark: mark,
      sendTimeout: 0,
      noDrop: true,
      // a second group's identical subscription has to reach publishers too
      verbosity: 'allSubs',
      maxMessageSize: 64 * 1024,
    })
    this.#publishers = new Peers()
    this.#subscribers = new Peers()
    const refused = (): void =>
      this.#warn(
        'handshake',
        'broker: a connection failed its handshake; it speaks no ZeroMQ, or its CURVE keys do not fit',
      )
    this.#publishers.watch(xsub, refused)
    this.#subscribers.watch(xpub, refused)
    return [xsub, xpub]
  }

  async #forward(xsub: XSubscriber, xpub: XPublisher): Promise<void> {
    for (;;) {
      try {
        xsub.receiveTimeout = -1
        let parts = await xsub.receive()
        // with no time to wait, `receive` does not ask zeromq first whether there is something: a fifth less work
        xsub.receiveTimeout = 0
        for (let count = 0; count < BURST; count++) {
          this.#send(xpub, parts)
          parts = await xsub.receive()
        }
        this.#send(xpub, parts)
      } catch (error) {
        if (xsub.closed) return
        if ((error as { code?: string }).code === 'EAGAIN') continue
        this.#warn('receive', `broker: receiving failed: ${(error as Error).message}; it is tried again`)
      }
      await turn()
    }
  }

  #send(xpub: XPublisher, parts: Buffer[]): void {
    if (this.#pulse?.takes(parts)) return
    if (!this.#traffic.count(parts)) {
      this.#warn(
        'invalid',
        'broker: a message that is neither [#<shard>|<level>|, bundle] nor a text line was not forwarded',
      )
      return
    }
    // not awaited: zeromq has decided when `send` returns, and the loop is a tenth quicker
    xpub.send(parts).catch((error: { code?: string }) => {
      if (error.code === 'EAGAIN') this.#sendPastSlow(xpub, parts)
    })
  }

  /** Someone is at their high-water mark, and nobody was given the message: give it to all others. */
  #sendPastSlow(xpub: XPublisher, parts: Buffer[]): void {
    if (xpub.closed) return
    this.#droppedForSlow++
    this.#warn(
      'slow',
      'broker: a subscriber takes less than it subscribed to, and misses messages; give it fewer shards or levels, or stop it',
    )
    quietly(() => (xpub.noDrop = false))
    xpub.send(parts).catch(() => this.#droppedForSlow++)
    quietly(() => (xpub.noDrop = true))
  }

  async #passSubscriptions(xsub: XSubscriber, xpub: XPublisher): Promise<void> {
    for (;;) {
      try {
        const parts = await xpub.receive()
        for (const message of this.#subscriptions.upstream(parts)) await xsub.send(message)
      } catch (error) {
        if (xpub.closed || xsub.closed) return
        this.#warn('subscription', `broker: a subscription was not passed on: ${(error as Error).message}`)
        await turn()
      }
    }
  }

  async #stop(graceMs: number): Promise<void> {
    const xsub = this.#xsub
    const xpub = this.#xpub
    if (xsub === undefined || xpub === undefined) return
    await this.#publishers.gone(graceMs)
    const deadline = performance.now() + DRAIN_MS
    // a disconnect can be heard of before the last of what it left is readable
    for (let idle = 0; idle < 3 && performance.now() < deadline; idle = xsub.readable ? 0 : idle + 1) await turn()
    this.#pulse?.stop()
    xsub.close()
    xpub.close()
    await Promise.all([this.port, this.subscribersPort].map((port) => freed(this.#host, port)))
  }

  #warn(kind: string, message: string): void {
    const now = performance.now()
    if (now - (this.#warned.get(kind) ?? Number.NEGATIVE_INFINITY) < WARNING_MS) return
    this.#warned.set(kind, now)
    this.#options.onWarning?.(message)
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/**
 * Resolves once a port is free again, so that another broker can have it: libzmq lets go of it some time after a close,
 * and aborts the program now and then when told to unbind while peers leave.
 */
async function freed(host: string, port: number): Promise<void> {
  const deadline = performance.now() + DRAIN_MS
  while (performance.now() < deadline) {
    const server = createServer()
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)))
    })
    if (free) return
    await turn()
  }
}

// noDrop takes effect at once, but zeromq's Node binding does not know and warns of every change
function quietly(change: () => void): void {
  const loud = Reflect.get(process, 'emitWarning') as unknown
  Reflect.set(process, 'emitWarning', () => {})
  try {
    change()
  } finally {
    Reflect.set(process, 'emitWarning', loud)
  }
}
