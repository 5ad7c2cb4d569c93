import { UsageError } from '../client/errors.ts'
import { Backend, PermanentError, type Rollup, type Window } from './backend.ts'
import { type Batch, Batches, WINDOW_MS } from './batches.ts'
import { HttpTarget, type Judge, originOf } from './http.ts'
import { PRECISIONS, type Precision, linesOf } from './influx/line.ts'
import type { BackendUrl } from './url.ts'

/** What InfluxDB advises. */
const BATCH_LINES = 5000
/** Lines that are longer than this on the average make a batch full earlier; version 1 takes 25 MB at most. */
const LINE_CHARACTERS = 1000

/**
 * `influx+http://host:8086?org=O&bucket=B&token=$TOKEN` (InfluxDB 2 and 3) and `influx+http://user:password@host:8086?db=D`
 * (InfluxDB 1, VictoriaMetrics): points in line protocol. A point that comes twice is one point.
 */
export class InfluxBackend extends Backend {
  readonly name = 'influx'
  override readonly timeoutMs: number = WINDOW_MS
  override readonly idempotent = true
  readonly #batches: Batches<LineBatch>

  constructor(url: BackendUrl) {
    super()
    const { params } = url
    const base = originOf(url, 8086) + encodeURI(url.path)
    const precision = params.choice('precision', PRECISIONS) ?? 'ms'
    const readings = params.flag('readings') ?? false
    const gzip = params.flag('gzip') ?? true
    const { path, authorization } = endpointOf(url, precision)
    const headers = { 'content-type': 'text/plain; charset=utf-8', ...authorization }
    const target = new HttpTarget(url, this.name, base, headers, judge)
    this.#batches = new Batches({
      timeoutMs: url.timeoutMs,
      name: this.name,
      begin: ({ end }) => new LineBatch(end, precision, readings),
      limit: BATCH_LINES,
      post: ({ lines }, signal) => target.send({ path, body: lines.join('\n'), gzip, signal }),
    })
  }

  override flush(window: Window, signal: AbortSignal): Promise<void> {
    return this.#batches.flush(window, signal)
  }
}

class LineBatch implements Batch {
  readonly lines: string[] = []
  readonly #end: number
  readonly #precision: Precision
  readonly #readings: boolean
  #characters = 0

  constructor(end: number, precision: Precision, readings: boolean) {
    this.#end = end
    this.#precision = precision
    this.#readings = readings
  }

  get size(): number {
    return Math.max(this.lines.length, this.#characters / LINE_CHARACTERS)
  }

  add(rollup: Rollup): void {
    for (const line of linesOf(rollup, this.#end, this.#precision, this.#readings)) {
      this.lines.push(line)
      this.#characters += line.length
    }
  }
}

interface Endpoint {
  readonly path: string
  readonly authorization: Readonly<Record<string, string>>
}

function endpointOf(url: BackendUrl, precision: Precision): Endpoint {
  const { params, label } = url
  const [db, rp, bucket, org, token] = ['db', 'rp', 'bucket', 'org', 'token'].map((name) => params.text(name))
  const wayOut = 'write ?org=ORG&bucket=BUCKET&token=$TOKEN for InfluxDB 2 and 3, ?db=DATABASE for InfluxDB 1'
  if ((db === undefined) === (bucket === undefined && org === undefined)) {
    throw new UsageError(`${label}: ${db === undefined ? 'names no database' : 'names two databases'}; ${wayOut}`)
  }
  if (token !== undefined && url.user !== undefined) {
    throw new UsageError(`${label}: has a token and a user; remove one`)
  }
  const authorization = authorizationOf(url, token)
  if (db !== undefined) {
    const names = { s: 's', ms: 'ms', us: 'u', ns: 'ns' }
    const query = queryOf({ db: params.required('db'), rp, precision: names[precision] })
    return { path: `/write?${query}`, authorization }
  }
  if (url.user !== undefined) throw new UsageError(`${label}: a bucket is written with a token; ${wayOut}`)
  if (rp !== undefined) throw new UsageError(`${label}: the option rp goes with db; ${wayOut}`)
  const query = queryOf({ org: params.required('org'), bucket: params.required('bucket'), precision })
  return { path: `/api/v2/write?${query}`, authorization }
}

function authorizationOf({ user, password = '' }: BackendUrl, token: string | undefined): Record<string, string> {
  if (token !== undefined) return { authorization: `Token ${token}` }
  if (user === undefined) return {}
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` }
}

function queryOf(options: Readonly<Record<string, string | undefined>>): URLSearchParams {
  return new URLSearchParams(Object.entries(options).filter((pair): pair is [string, string] => pair[1] !== undefined))
}

/**
 * A partial write is an error to InfluxDB, though it keeps what it can: `partial write: ... dropped=3`. Lines that it could
 * not read at all are not in that number but named one by one, by version 3 as `line_number`.
 */
const judge: Judge = ({ status, text }, message) => {
  if (status < 400 || status >= 500 || !/partial write/i.test(text)) return undefined
  const dropped = Number(/dropped=(\d+)/.exec(text)?.[1] ?? 0)
  const unread = text.match(/unable to parse|line_number/g)?.length ?? 0
  return new PermanentError(message, { refused: Math.max(1, dropped + unread) })
}
