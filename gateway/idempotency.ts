import { utf8 } from '../client/wire/bytes.ts'
import { type Answer, Refusal } from './answers.ts'

export interface IdempotencyOptions {
  /** How long a key is held at least; default 5 minutes, as long as senders retry. */
  readonly holdMs?: number
  /** Keys held at the most, default 100,000; at the bound posts with a new key are refused (503). */
  readonly maxKeys?: number
  /** Bytes of remembered answers at the most; default 32 MiB. */
  readonly maxBytes?: number
  /** ms since some fixed point. */
  readonly now?: () => number
}

const BUCKETS = 5
/** Characters of a key at the most. */
const KEY = 255

interface Bucket {
  readonly until: number
  readonly answers: Map<string, Answer>
  bytes: number
}

/**
 * Answers to posts with an `Idempotency-Key`, so that a repeat changes nothing and gets the first one's answer. Keys are
 * gathered in buckets by time, so that forgetting them costs nothing.
 */
export class IdempotencyKeys {
  readonly #holdMs: number
  readonly #maxKeys: number
  readonly #maxBytes: number
  readonly #now: () => number
  readonly #buckets: Bucket[] = []
  readonly #flying = new Map<string, Promise<Answer | undefined>>()
  #held = 0
  #bytes = 0
  /** Posts that were answered as an earlier one was. */
  repeats = 0

  constructor(options: IdempotencyOptions = {}) {
    this.#holdMs = options.holdMs ?? 300_000
    this.#maxKeys = options.maxKeys ?? 100_000
    this.#maxBytes = options.maxBytes ?? 32 * 1024 * 1024
    this.#now = options.now ?? (() => performance.now())
  }

  /** Keys held, those of posts in flight included. */
  get size(): number {
    this.#forget()
    return this.#held + this.#flying.size
  }

  /**
   * The remembered answer, or else that of `work`, which is remembered if it took anything (2xx). While another post with
   * the key is in flight, waits for how that ends.
   *
   * @throws Refusal as {@link checkKey} does, and `overloaded` at a bound
   */
  async answer(token: string, key: string, work: () => Promise<Answer>): Promise<Answer> {
    checkKey(key)
    const id = await hash(`${token}\0${key}`)
    for (;;) {
      const known = this.#find(id) ?? (await this.#flying.get(id))
      if (known !== undefined) {
        this.repeats++
        return known
      }
      // whoever waited for a post that failed: one becomes the first, the others wait for that one
      if (!this.#flying.has(id)) return this.#first(id, work)
    }
  }

  async #first(id: string, work: () => Promise<Answer>): Promise<Answer> {
    this.#reserve()
    const { promise, resolve } = withResolvers<Answer | undefined>()
    this.#flying.set(id, promise)
    let taken: Answer | undefined
    try {
      const answer = await work()
      if (answer.status < 300) this.#remember(id, (taken = answer))
      return answer
    } finally {
      this.#flying.delete(id)
      resolve(taken)
    }
  }

  #find(id: string): Answer | undefined {
    this.#forget()
    for (const { answers } of this.#buckets) {
      const answer = answers.get(id)
      if (answer !== undefined) return answer
    }
    return undefined
  }

  #reserve(): void {
    if (this.size < this.#maxKeys && this.#bytes < this.#maxBytes) return
    const waitMs = (this.#buckets[0]?.until ?? this.#now()) - this.#now()
    throw new Refusal('overloaded', 'too many idempotency keys are held; retry later', {
      'retry-after': String(Math.max(1, Math.ceil(waitMs / 1000))),
    })
  }

  #remember(id: string, answer: Answer): void {
    const span = this.#holdMs / BUCKETS
    let bucket = this.#buckets.at(-1)
    if (bucket === undefined || bucket.until < this.#now() + this.#holdMs) {
      bucket = { until: this.#now() + this.#holdMs + span, answers: new Map(), bytes: 0 }
      this.#buckets.push(bucket)
    }
    bucket.answers.set(id, answer)
    bucket.bytes += answer.body.length
    this.#bytes += answer.body.length
    this.#held++
  }

  #forget(): void {
    while (this.#buckets[0] !== undefined && this.#buckets[0].until <= this.#now()) {
      const { answers, bytes } = this.#buckets.shift() as Bucket
      this.#held -= answers.size
      this.#bytes -= bytes
    }
  }
}

/** @throws Refusal `invalid_key` for a key that is empty or too long */
export function checkKey(key: string): void {
  if (key !== '' && key.length <= KEY) return
  throw new Refusal('invalid_key', `Idempotency-Key must have 1 to ${KEY} characters`)
}

function withResolvers<Value>(): { promise: Promise<Value>; resolve: (value: Value) => void } {
  let resolve!: (value: Value) => void
  const promise = new Promise<Value>((settle) => (resolve = settle))
  return { promise, resolve }
}

/** 128 bits are enough for keys, and make each as small as the next. */
async function hash(text: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', utf8(text) as Uint8Array<ArrayBuffer>)
  return String.fromCharCode(...new Uint8Array(digest, 0, 16))
}
