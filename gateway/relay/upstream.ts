import { BUNDLE_TYPE } from '../../client/wire/bundle.ts'
import { VERSION } from '../../client/version.ts'
import type { UpstreamSettings } from './settings.ts'

const TIMEOUT_MS = 30_000
/** Bodies below this are not worth compressing. */
const COMPRESS_BYTES = 1_024
/** Answers to posts of which nothing was taken; others may stand between a post that was and its answer. */
const UNTOUCHED_CODES: ReadonlySet<string> = new Set(['overloaded', 'closing'])
const UNTOUCHED_STATUS: ReadonlySet<number> = new Set([401, 403, 404, 405, 415])

/** What became of a post upstream. */
export type Verdict =
  /** All but the rejected were taken; those never will be. */
  | { readonly kind: 'taken'; readonly rejected: number; readonly reason?: string | undefined }
  /** None of it will ever be taken. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** It is too much at once, or something in it stands in the way of the rest. */
  | { readonly kind: 'smaller'; readonly reason: string; readonly isTooLarge: boolean }
  | {
      readonly kind: 'again'
      readonly reason: string
      readonly retryAfterMs?: number | undefined
      /** Whether surely nothing was taken. */
      readonly untouched: boolean
    }

interface AnswerBody {
  readonly error?: { readonly code?: unknown }
  readonly rejected?: readonly { readonly reason?: unknown }[]
}

/** The gateway that everything goes to. */
export class Upstream {
  readonly #settings: UpstreamSettings

  constructor(settings: UpstreamSettings) {
    this.#settings = settings
  }

  /** Never rejects. */
  async post(bundle: Uint8Array<ArrayBuffer>): Promise<Verdict> {
    const isLarge = bundle.length >= COMPRESS_BYTES
    return this.#judged(isLarge ? await gzip(bundle) : bundle, {
      'content-type': BUNDLE_TYPE,
      ...(isLarge ? { 'content-encoding': 'gzip' } : {}),
    })
  }

  /** Posts nothing, which shows whether more would be taken; a frame that is not sent is not in doubt. */
  async probe(): Promise<Verdict> {
    return this.#judged('[]', { 'content-type': 'application/json' })
  }

  async #judged(body: BodyInit, headers: Record<string, string>): Promise<Verdict> {
    const { service, url, token } = this.#settings
    const init: RequestInit = {
      method: 'POST',
      body,
      headers: {
        ...headers,
        'user-agent': `zibrato-relay/${VERSION}`,
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      // followed, a post would become a GET
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    }
    try {
      const response = await (service === undefined ? fetch(url, init) : service.fetch(url, init))
      return judge(response.status, response.headers.get('retry-after'), parse(await response.text()))
    } catch (error) {
      return { kind: 'again', reason: `gave no answer (${(error as Error).message})`, untouched: false }
    }
  }
}

function judge(status: number, retryAfter: string | null, { error, rejected }: AnswerBody): Verdict {
  const code = typeof error?.code === 'string' && /^[a-z_]{1,40}$/.test(error.code) ? error.code : undefined
  const said = code === undefined ? `answered ${status}` : `answered ${status} (${code})`
  const first = rejected?.[0]?.reason
  const why = typeof first === 'string' ? first.slice(0, 200) : undefined
  if (status === 202) return { kind: 'taken', rejected: rejected?.length ?? 0, reason: why }
  // both name every frame
  if (code === 'all_invalid' || code === 'level_forbidden') return { kind: 'refused', reason: why ?? said }
  if (status === 413) return { kind: 'smaller', reason: said, isTooLarge: true }
  if (status === 400) {
    return { kind: 'smaller', reason: code === undefined ? said + adviceFor(status) : said, isTooLarge: false }
  }
  return {
    kind: 'again',
    reason: said + adviceFor(status),
    retryAfterMs: retryAfter === null ? undefined : millisOf(retryAfter),
    untouched: UNTOUCHED_STATUS.has(status) || (code !== undefined && UNTOUCHED_CODES.has(code)),
  }
}

function adviceFor(status: number): string {
  if (status === 401 || status === 403) return ': check UPSTREAM_TOKEN'
  if (status < 500 && status !== 408 && status !== 429)
    return ', where a gateway of Zibrato answers 202: check UPSTREAM_URL'
  return ''
}

/** Of a Retry-After in seconds, as ms; dates are not read, and 0 says no more than none. */
function millisOf(text: string): number | undefined {
  return /^\d{1,6}$/.test(text.trim()) ? Number(text) * 1_000 || undefined : undefined
}

function parse(text: string): AnswerBody {
  try {
    return (JSON.parse(text) as AnswerBody | null) ?? {}
  } catch {
    return {}
  }
}

async function gzip(bytes: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream('gzip'))
  return new Response(stream).arrayBuffer()
}
