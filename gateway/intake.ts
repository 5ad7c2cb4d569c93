import { BUNDLE_TYPE } from '../client/wire/bundle.ts'
import { type Answer, Refusal, refuse, unavailable } from './answers.ts'
import type { Token, Tokens } from './auth.ts'
import { IdempotencyKeys, type IdempotencyOptions, checkKey } from './idempotency.ts'
import { ingestBundle } from './ingest/bundle.ts'
import { type Rules, ingestJson } from './ingest/json.ts'
import type { Ingested, Sink } from './ingest/sink.ts'
import { BodyReader, type LimitOptions } from './limits.ts'

export interface IntakeOptions extends LimitOptions {
  readonly sink: Sink
  /** Absent or empty: everyone may post. */
  readonly tokens?: Tokens | undefined
  /** The level of JSON measurements without one; default `info`. */
  readonly defaultLevel?: string
  /** Measurements or frames in one body at the most; default 20,000. */
  readonly maxMeasurements?: number
  readonly idempotency?: IdempotencyOptions
  /**
   * Whether repeats are told by the identity that `sink.keyed` gives them, and by nothing else: where one request must not
   * wait for another, as on Workers. Default false: answers are remembered here too.
   */
  readonly keyedOnly?: boolean
  /** Whether nothing new is to be taken in, because the listener is closing. */
  readonly closing?: () => boolean
  /** ms since the epoch. */
  readonly now?: () => number
}

type Kind = 'json' | 'bundle'

/** Content-Type headers whose meaning is remembered. */
const REMEMBERED = 100
const LATER: Readonly<Record<string, string>> = { 'retry-after': '1' }
const decoder = new TextDecoder('utf-8', { fatal: true })

/** `POST /v1/metrics`, from request to answer. */
export class Intake {
  measurements = 0
  frames = 0
  rejected = 0
  bytes = 0
  readonly keys: IdempotencyKeys
  readonly #sink: Sink
  readonly #tokens: Tokens | undefined
  readonly #reader: BodyReader
  readonly #rules: Omit<Rules, 'levels'>
  readonly #closing: () => boolean
  readonly #keyedOnly: boolean
  readonly #kinds = new Map<string, Kind | undefined>()

  constructor(options: IntakeOptions) {
    this.keys = new IdempotencyKeys(options.idempotency)
    this.#sink = options.sink
    this.#tokens = options.tokens?.size === 0 ? undefined : options.tokens
    this.#reader = new BodyReader(options)
    this.#rules = {
      defaultLevel: options.defaultLevel ?? 'info',
      maxMeasurements: options.maxMeasurements ?? 20_000,
      now: options.now ?? Date.now,
    }
    this.#closing = options.closing ?? (() => false)
    this.#keyedOnly = options.keyedOnly ?? false
  }

  /** Whether posts are taken now; if not, why. */
  obstacle(): string | undefined {
    if (this.#closing()) return 'the gateway is closing'
    const obstacle = this.#sink.obstacle?.()
    if (obstacle !== undefined) return obstacle
    if (this.#sink.full) return 'the gateway is full, as what it took cannot go out'
    return this.#sink.connected() ? undefined : 'the gateway is not connected to a broker'
  }

  /** Never rejects for what a client did. */
  async answer(request: Request, header: (name: string) => string | undefined): Promise<Answer> {
    try {
      if (this.#closing()) throw new Refusal('closing', 'the gateway is closing; post to another, or later', LATER)
      const token =
        this.#tokens === undefined ? undefined : await this.#authorize(this.#tokens, header('authorization'))
      const kind = this.#kind(header('content-type'))
      const key = header('idempotency-key')
      if (key !== undefined) checkKey(key)
      const identity = key === undefined ? undefined : `${token?.name ?? ''}\0${key}`
      const work = (): Promise<Answer> => this.#take(request, kind, token, identity, header)
      return await (key === undefined || this.#keyedOnly ? work() : this.keys.answer(token?.name ?? '', key, work))
    } catch (error) {
      if (error instanceof Refusal) return refuse(error.code, error.message, error.headers)
      throw error
    }
  }

  async #authorize(tokens: Tokens, header: string | undefined): Promise<Token> {
    const token = tokens.known(header) ?? (await tokens.find(header))
    if (token !== undefined) return token
    throw new Refusal('unauthorized', 'no valid token; send "Authorization: Bearer SECRET"', {
      'www-authenticate': 'Bearer realm="zibrato"',
    })
  }

  async #take(
    request: Request,
    kind: Kind,
    token: Token | undefined,
    identity: string | undefined,
    header: (name: string) => string | undefined,
  ): Promise<Answer> {
    this.#refuseIfFull()
    const body = await this.#reader.read(request, header('content-encoding'), header('content-length'))
    this.bytes += body.length
    if (body.length === 0) throw new Refusal('unreadable', 'the body is empty')
    // it may have become so while the body came
    this.#refuseIfFull()
    const rules = { ...this.#rules, levels: token?.levels }
    if (kind === 'json') {
      const sink = (identity === undefined ? undefined : this.#sink.keyed?.(identity)) ?? this.#sink
      const ingested = ingestJson(parse(body), sink, rules)
      if (ingested.accepted > 0 && !(await sink.sealed())) throw full()
      this.measurements += ingested.accepted
      return this.#settle(ingested)
    }
    const bundle = ingestBundle(body, rules)
    if (bundle.accepted > 0 && !(await this.#sink.offer(bundle.frames))) throw full()
    this.frames += bundle.accepted
    return this.#settle(bundle)
  }

  #settle({ accepted, rejected, forbidden }: Ingested): Answer {
    this.rejected += rejected.length
    if (rejected.length === 0) return { status: 202, body: `{"accepted":${accepted},"rejected":[]}` }
    if (accepted > 0) return { status: 202, body: JSON.stringify({ accepted, rejected }) }
    return forbidden > 0
      ? refuse('level_forbidden', 'this token may not post at these levels', {}, { accepted, rejected })
      : refuse('all_invalid', `nothing is valid: ${rejected[0]?.reason ?? ''}`, {}, { accepted, rejected })
  }

  #refuseIfFull(): void {
    const obstacle = this.#sink.obstacle?.()
    if (obstacle !== undefined) throw unavailable(obstacle)
    if (this.#sink.full) throw full()
  }

  #kind(header: string | undefined): Kind {
    let kind = this.#kinds.get(header ?? '')
    if (kind === undefined) {
      kind = kindOf(header ?? '')
      if (this.#kinds.size < REMEMBERED) this.#kinds.set(header ?? '', kind)
    }
    if (kind !== undefined) return kind
    throw new Refusal(
      'unsupported_type',
      `this Content-Type is not read here; use application/json or ${BUNDLE_TYPE}`,
      {
        accept: `application/json, ${BUNDLE_TYPE}`,
      },
    )
  }
}

function full(): Refusal {
  return new Refusal('overloaded', 'the gateway is full, as what it took cannot go out; retry later', LATER)
}

function kindOf(header: string): Kind | undefined {
  const [type = '', ...parameters] = header.toLowerCase().split(';')
  const name = type.trim()
  if (name === BUNDLE_TYPE) return 'bundle'
  if (name !== 'application/json' && !/^application\/[\w.!#$&^-]+\+json$/.test(name)) return undefined
  const charset = parameters.map((text) => text.trim()).find((text) => text.startsWith('charset='))
  return charset === undefined || /^charset="?utf-?8"?$/.test(charset) ? 'json' : undefined
}

function parse(body: Uint8Array): unknown {
  let text: string
  try {
    text = decoder.decode(body)
  } catch {
    throw new Refusal('unreadable', 'the body is not UTF-8')
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Refusal('unreadable', `the body is no JSON: ${(error as Error).message}`)
  }
}
