import { gunzipSync, inflateSync } from 'node:zlib'
import {
  demand,
  isFinite,
  listed,
  parsed,
  type Posted,
  type Reply,
  shaped,
  StrictService,
  type Violation,
} from './strict-service.ts'

const NAME = /^[A-Za-z][A-Za-z0-9_.]{0,199}$/
const TAG = /^\p{L}[\p{L}\p{N}_\-:./]*$/u
const METRIC_KEYS = ['metric', 'type', 'points', 'tags', 'resources', 'interval', 'unit']
const DISTRIBUTION_KEYS = ['metric', 'type', 'points', 'tags', 'host']
const COMPRESSED = 512_000
const DECOMPRESSED = 5_242_880

export const API_KEY = '0123456789abcdef0123456789abcdef'
/** What the service's clock says, in seconds since the epoch: shortly after the first sample windows. */
export const NOW = 1_700_000_120

/**
 * Datadog's API by its documentation (docs.datadoghq.com/api/latest/metrics): series v2 and distribution points, limits of
 * size before and after compression, names, tags and times, a post taken whole or refused whole.
 */
export class DatadogService extends StrictService {
  readonly series: Record<string, unknown>[] = []
  readonly distributions: Record<string, unknown>[] = []
  /** Names that are refused. */
  readonly banned: Set<string> = new Set()
  /** Errors that come along with the next acceptances. */
  readonly partial: string[][] = []
  /** Bytes of each post, as it came and decompressed. */
  readonly sizes: [compressed: number, decompressed: number][] = []

  protected refusal({ message }: Violation): unknown {
    return { errors: [message] }
  }

  protected accept({ method, path, headers, raw }: Posted): Reply {
    demand(headers['dd-api-key'] === API_KEY, 'Forbidden', 403)
    if (method === 'GET' && path === '/api/v1/validate') return { status: 200, body: { valid: true } }
    demand(method === 'POST', 'no such method', 405)
    const isSeries = path === '/api/v2/series'
    demand(isSeries || path === '/api/v1/distribution_points', 'no such route', 404)
    demand(headers['content-type'] === (isSeries ? 'application/json' : 'text/json'), 'content type')
    demand(raw.length <= COMPRESSED, 'Payload too large', 413)
    const text = decompressed(raw, headers['content-encoding'], isSeries)
    demand(text.length <= DECOMPRESSED, 'Payload too large', 413)
    this.sizes.push([raw.length, text.length])
    const { series } = shaped(parsed(text.toString('utf8')), ['series'], 'the body')
    const list = listed(series, 'series').map((each) => (isSeries ? this.#metric(each) : this.#distribution(each)))
    demand(list.length > 0, 'no series')
    const identities = new Set(list.map(identityOf))
    demand(identities.size === list.length, 'two points of one series and time: the last would stay')
    const into = isSeries ? this.series : this.distributions
    into.push(...list)
    return { status: 202, body: isSeries ? { errors: this.partial.shift() ?? [] } : { status: 'ok' } }
  }

  #metric(each: unknown): Record<string, unknown> {
    const metric = shaped(each, METRIC_KEYS, 'a series')
    const { type, points, interval, unit, resources } = metric
    this.#checkNames(metric)
    demand(type === 1 || type === 3, `type ${String(type)}`)
    demand(type === 3 ? interval === undefined : Number.isInteger(interval) && (interval as number) > 0, 'interval')
    demand(unit === undefined || unit === 'second', `unit ${String(unit)}`)
    for (const resource of resources === undefined ? [] : listed(resources, 'resources')) {
      const { type: kind, name } = shaped(resource, ['type', 'name'], 'a resource')
      demand(kind === 'host' && typeof name === 'string' && name !== '', 'a resource that is no host')
    }
    const all = listed(points, 'points')
    demand(all.length === 1, 'points')
    for (const point of all) {
      const { timestamp, value } = shaped(point, ['timestamp', 'value'], 'a point')
      checkTime(timestamp)
      demand(isFinite(value), 'value')
    }
    return metric
  }

  #distribution(each: unknown): Record<string, unknown> {
    const distribution = shaped(each, DISTRIBUTION_KEYS, 'a distribution')
    const { type, points, host } = distribution
    this.#checkNames(distribution)
    demand(type === 'distribution', 'type')
    demand(host === undefined || (typeof host === 'string' && host !== ''), 'host')
    for (const point of listed(points, 'points')) {
      const [timestamp, values, ...rest] = listed(point, 'a point')
      demand(rest.length === 0, 'a point of more than time and values')
      checkTime(timestamp)
      demand(listed(values, 'values').length > 0 && listed(values, 'values').every(isFinite), 'values')
    }
    return distribution
  }

  #checkNames({ metric, tags }: Record<string, unknown>): void {
    demand(typeof metric === 'string' && NAME.test(metric), `metric ${String(metric)}`)
    demand(!this.banned.has(metric), `metric ${metric} is banned`)
    const list = tags === undefined ? [] : listed(tags, 'tags')
    demand(list.length <= 100 && new Set(list).size === list.length, 'tags')
    for (const tag of list) {
      demand(typeof tag === 'string' && TAG.test(tag) && tag.length <= 200, `tag ${String(tag)}`)
      demand(!tag.endsWith(':') && tag === tag.toLowerCase(), `tag ${tag}`)
    }
  }
}

function decompressed(raw: Buffer, encoding: string | undefined, isSeries: boolean): Buffer {
  if (encoding === undefined) return raw
  demand(encoding === 'deflate' || (isSeries && encoding === 'gzip'), `content encoding ${encoding}`)
  return encoding === 'gzip' ? gunzipSync(raw) : inflateSync(raw)
}

function checkTime(timestamp: unknown): void {
  demand(Number.isInteger(timestamp), 'the time is no integer')
  demand((timestamp as number) <= NOW + 600 && (timestamp as number) >= NOW - 3600, 'the time is too far away')
}

function identityOf({ metric, tags, resources, host }: Record<string, unknown>): string {
  return JSON.stringify([metric, [...((tags as string[] | undefined) ?? [])].sort(), resources, host])
}
