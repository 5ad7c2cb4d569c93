import { randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import { XPublisher, XSubscriber } from 'zeromq'
import { CURVE_KEY } from '../../client/curve.ts'
import { UsageError } from '../../client/errors.ts'
import { Pulse } from '../../client/transport/pulse.ts'
import { encodeBundle } from '../../client/wire/bundle.ts'
import { SHARDS } from '../../client/wire/series.ts'
import { JOURNAL_PREFIX, replayTopic } from '../../client/wire/topic.ts'
import type { Journal } from '../journal/journal.ts'
import { type ListenAddress, checkPort, hostAndPort, listenError, resolveListenHost } from '../listen/address.ts'
import { Journaling, shardOf } from './journaling.ts'
import { Lines } from './lines.ts'
import { Peers } from './peers.ts'
import { type BrokerStats, NO_FRAMES, brokerMetrics } from './stats.ts'
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
  /** Where all that publishers send is written too; started, and closed after the broker, by whoever made it. */
  readonly journal?: Journal
  /** Told one line about what an operator should know, each kind at most every 10 s; default: nobody. */
  readonly onWarning?: (message: string) => void
}

/** Messages forwarded before other work of the process gets its turn. */
const BURST = 500
const MESSAGE_BYTES = 16 * 1024 * 1024
const WARNING_MS = 10_000
/** How often it is looked which journal it is. */
const ANNOUNCE_MS = 500
const INVALID = 'broker: a message that is neither [#<shard>|<level>|, bundle] nor a text line was not forwarded'
const MARKED =
  'broker: a message that is in a journal already was not forwarded: a gateway has --journal, so start this broker with --journal and the same --state'
/** How long `stop` waits for what is received to be forwarded, and zeromq afterwards for it to be sent. */
const DRAIN_MS = 1_000

type Message = (string | Uint8Array)[]

/**
 * Every character, in UTF-8 its first byte, with which the level of a text line can start. The broker asks publishers for
 * all of these; frames, whose topics start with `#`, it asks for only where somebody takes them.
 */
const LINE_PREFIXES = Array.from({ length: 0xf5 }, (_, byte) => byte).filter(
  (byte) => (byte > 0x21 && byte < 0x7f && !'#?|'.includes(String.fromCharCode(byte))) || byte >= 0xc2,
)

/**
 * Forwards what publishers send at `port` to whom it may concern at `port + 1`, and subscriptions the other way. Text lines
 * go on as they are, and once more as frames of the broker's own.
 *
 * ```
 * publishers --> XSUB port --> count -----------------> XPUB port + 1 --> subscribers
 *            <--- subscriptions,  '-- lines --> frames ---^
 *                 replay requests <-----------------------
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
  #lines: Lines | undefined
  readonly #journaling: Journaling | undefined
  #announced = ''
  #announcing: ReturnType<typeof setInterval> | undefined
  #stopping: Promise<void> | undefined

  /** @throws UsageError for a port or key that is none */
  constructor(options: BrokerOptions = {}) {
    this.#options = options
    this.#host = options.host ?? '127.0.0.1'
    this.#journaling = options.journal === undefined ? undefined : new Journaling(options.journal)
    this.#port = options.port ?? 5550
    checkPort('broker', this.#port, 65_534)
    for (const name of ['curveSecretKey', 'curvePublicKey'] as const) {
      const key = options[name]
      if (key !== undefined && !CURVE_KEY.test(key)) {
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
    const journaling = this.#journaling
    this.#pulse = new Pulse(xsub, {
      publishers: () => this.#publishers.count,
      ...(journaling === undefined
        ? {}
        : { isAlive: () => !journaling.isBlocked, settled: (call) => journaling.written(call) }),
    })
    for (const byte of LINE_PREFIXES) await xsub.send(Buffer.from([1, byte]))
    if (journaling !== undefined) await this.#takeEverything(xsub)
    this.#lines = new Lines({
      send: (topic, bundle) => this.#give(xpub, [topic, bundle]),
      warn: (kind, message) => this.#warn(kind, message),
      ...(journaling === undefined
        ? {}
        : {
            onFrames: (frames) => {
              for (const { shard, bytes } of frames) journaling.take(shard, encodeBundle([bytes]))
            },
          }),
    })
    void this.#forward(xsub, xpub)
    void this.#passSubscriptions(xsub, xpub)
  }

  stats(): BrokerStats {
    return {
      messages: this.#traffic.messages,
      bytes: this.#traffic.bytes,
      textLines: this.#traffic.textLines,
      frames: this.#traffic.frames(),
      badLines: { ...this.#lines?.bad },
      lineFrames: this.#lines?.stats() ?? NO_FRAMES,
      invalid: this.#traffic.invalid + this.#subscriptions.invalid,
      droppedForSlow: this.#droppedForSlow,
      publishers: this.#publishers.count,
      subscribers: this.#subscribers.count,
      refusedPeers: this.#publishers.refused + this.#subscribers.refused,
      subscriptions: this.#subscriptions.active,
      subscriptionsSeen: this.#subscriptions.seen,
      subscriptionsRefused: this.#subscriptions.refused,
      ...(this.#journaling === undefined || this.#options.journal === undefined
        ? {}
        : { journal: { ...this.#journaling.stats(), writer: this.#options.journal.stats() } }),
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

  /** Asks for all frames, of whoever connects also for those kept, and says which journal it writes. */
  async #takeEverything(xsub: XSubscriber): Promise<void> {
    await xsub.send('\x01#')
    for (let shard = 0; shard < SHARDS; shard++) {
      await xsub.send(`\x01${replayTopic(shard, randomBytes(8).toString('hex'))}`)
    }
    await xsub.send(`\x01${JOURNAL_PREFIX}`)
    this.#announcing = setInterval(() => void this.#announce(xsub), ANNOUNCE_MS)
    await this.#announce(xsub)
  }

  /** Says which journal it writes, once that is known, and when it becomes another. */
  async #announce(xsub: XSubscriber): Promise<void> {
    const fingerprint = this.#options.journal?.fingerprint
    const before = this.#announced
    if (fingerprint === undefined || fingerprint === before || xsub.closed) return
    this.#announced = fingerprint
    await xsub.send(`\x01${JOURNAL_PREFIX}${fingerprint}`)
    await xsub.send(`\x00${JOURNAL_PREFIX}${before}`)
  }

  async #forward(xsub: XSubscriber, xpub: XPublisher): Promise<void> {
    const journaling = this.#journaling
    for (;;) {
      try {
        if (journaling?.isBlocked === true) {
          this.#warn('journal', 'broker: the journal does not take what was received; publishers keep what they have')
          await journaling.unblocked()
        }
        xsub.receiveTimeout = -1
        let parts = await xsub.receive()
        // with no time to wait, `receive` does not ask zeromq first whether there is something: a fifth less work
        xsub.receiveTimeout = 0
        for (let count = 0; count < BURST && journaling?.isFull !== true; count++) {
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

  #send(xpub: XPublisher, received: Buffer[]): void {
    if (this.#pulse?.takes(received)) return
    const journaling = this.#journaling
    const mark = journaling === undefined ? undefined : received[2]
    const parts = mark !== undefined && received.length === 3 ? received.slice(0, 2) : received
    if (!this.#traffic.count(parts)) {
      this.#warn('invalid', parts.length === 3 ? MARKED : INVALID)
      return
    }
    this.#give(xpub, parts)
    if (parts.length === 1) this.#lines?.take(parts[0] as Buffer)
    else if (journaling !== undefined && (mark === undefined || !journaling.isMark(mark))) {
      journaling.take(shardOf(parts[0] as Buffer), parts[1] as Buffer)
    }
  }

  #give(xpub: XPublisher, parts: Message): void {
    // not awaited: zeromq has decided when `send` returns, and the loop is a tenth quicker
    xpub.send(parts).catch((error: { code?: string }) => {
      if (error.code === 'EAGAIN') this.#sendPastSlow(xpub, parts)
    })
  }

  /** Someone is at their high-water mark, and nobody was given the message: give it to all others. */
  #sendPastSlow(xpub: XPublisher, parts: Message): void {
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
        // publishers would hear of it that the broker lives
        if (this.#journaling?.isBlocked === true) await this.#journaling.unblocked()
        const upstream = this.#subscriptions.upstream(parts)
        for (const message of upstream) await xsub.send(message)
        if (upstream[0] !== undefined) this.#lines?.hear(upstream[0])
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
    this.#lines?.stop()
    clearInterval(this.#announcing)
    const unwritten = (await this.#journaling?.stop()) ?? 0
    if (unwritten > 0) {
      this.#options.onWarning?.(
        `broker: stopped with ${unwritten} bytes that did not get into the journal; publishers still have what they sent in the last 15 s, text lines are lost`,
      )
    }
    this.#pulse?.stop()
    xsub.close()
    xpub.close()
    await Promise.all([this.port, this.subscribersPort].map((port) => freed(this.#host, port)))
  }

  #warn(kind: string, message: string | (() => string)): void {
    const now = performance.now()
    if (now - (this.#warned.get(kind) ?? Number.NEGATIVE_INFINITY) < WARNING_MS) return
    this.#warned.set(kind, now)
    this.#options.onWarning?.(typeof message === 'string' ? message : message())
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
