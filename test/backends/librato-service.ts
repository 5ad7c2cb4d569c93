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

const NAME = /^[A-Za-z0-9.:_-]{1,255}$/
const TAG_NAME = /^[-.:_A-Za-z0-9]{1,64}$/
const TAG_VALUE = /^[-.:_A-Za-z0-9 ]{1,255}$/
const GAUGE_KEYS = ['name', 'source', 'measure_time', 'value', 'count', 'sum', 'min', 'max', 'sum_squares']
const MEASUREMENT_KEYS = ['name', 'tags', 'time', 'value', 'count', 'sum', 'min', 'max', 'stddev']

export const USER = 'me@example.com'
export const TOKEN = '75afdb82secret'

/**
 * Librato's API by its documentation (github.com/librato/api-docs): names, sources, tags and numbers within their
 * limits, at most 300 measurements a post, a post taken whole or refused whole.
 */
export class LibratoService extends StrictService {
  /** Measurements in the order they came. */
  readonly taken: Record<string, unknown>[] = []
  /** Metrics that are counters, so that no gauge may have their name. */
  readonly counters: Set<string> = new Set()
  /** What is older is refused, in seconds since the epoch. */
  oldest = 0
  /** Requests with measurements, of what size. */
  readonly sizes: number[] = []

  protected refusal({ message }: Violation): unknown {
    return { errors: { params: { request: [message] } } }
  }

  protected accept({ method, path, headers, raw }: Posted): Reply {
    const credentials = Buffer.from(`${USER}:${TOKEN}`).toString('base64')
    demand(headers.authorization === `Basic ${credentials}`, 'Authorization Required', 401)
    demand(/^zibrato\/\d+\.\d+\.\d+$/.test(headers['user-agent'] ?? ''), 'no user agent')
    demand(path === '/v1/metrics' || path === '/v1/measurements', 'no such route', 404)
    if (method === 'HEAD') return { status: 200 }
    demand(method === 'POST', 'no such method', 405)
    demand(headers['content-type'] === 'application/json', 'content type', 415)
    const body = parsed(raw.toString('utf8'))
    const measurements = path === '/v1/metrics' ? this.#gauges(body) : this.#measurements(body)
    demand(measurements.length > 0 && measurements.length <= 300, `${measurements.length} measurements`)
    const identities = new Set(measurements.map(identityOf))
    demand(identities.size === measurements.length, 'two measurements of one stream and time')
    this.taken.push(...measurements)
    this.sizes.push(measurements.length)
    return path === '/v1/metrics' ? { status: 200 } : { status: 202 }
  }

  #gauges(body: unknown): Record<string, unknown>[] {
    const { gauges, counters } = shaped(body, ['gauges', 'counters'], 'the body')
    demand(listed(counters, 'counters').length === 0, 'counters are sent as gauges')
    return listed(gauges, 'gauges').map((each) => {
      const gauge = shaped(each, GAUGE_KEYS, 'a gauge')
      const { source } = gauge
      demand(typeof source === 'string' && NAME.test(source), `source ${String(source)}`)
      demand(source.toLowerCase() !== 'all', 'the source all is reserved')
      this.#check(gauge, gauge['measure_time'])
      return gauge
    })
  }

  #measurements(body: unknown): Record<string, unknown>[] {
    const { time, measurements } = shaped(body, ['time', 'measurements'], 'the body')
    demand(Number.isInteger(time), 'time')
    return listed(measurements, 'measurements').map((each) => {
      const measurement = shaped(each, MEASUREMENT_KEYS, 'a measurement')
      const tags = measurement['tags'] as Record<string, unknown>
      const names = Object.keys(shaped(tags, Object.keys(tags), 'tags'))
      demand(names.length > 0 && names.length <= 50, `${names.length} tags`)
      for (const name of names) {
        const value = tags[name]
        demand(TAG_NAME.test(name), `tag ${name}`)
        demand(typeof value === 'string' && TAG_VALUE.test(value), `value of tag ${name}: ${String(value)}`)
      }
      const whole = { time, ...measurement }
      this.#check(measurement, whole.time)
      return whole
    })
  }

  #check(measurement: Record<string, unknown>, time: unknown): void {
    const { name, value, count, sum, min, max } = measurement
    demand(typeof name === 'string' && NAME.test(name), `name ${String(name)}`)
    demand(!this.counters.has(name.toLowerCase()), `'${name}' is a counter, but was submitted as different type`)
    demand(Number.isInteger(time), 'the time is no integer')
    demand((time as number) >= this.oldest, 'measure_time is too far in the past')
    demand((value === undefined) !== (count === undefined), 'either value or count')
    if (count !== undefined) {
      demand(isFinite(count) && count > 0 && isFinite(sum), 'count goes with sum')
      demand(min === undefined || max === undefined || (min as number) <= (max as number), 'min above max')
    } else demand(sum === undefined && min === undefined && max === undefined, 'a summary without count')
    for (const key of ['value', 'count', 'sum', 'min', 'max', 'sum_squares', 'stddev']) {
      const figure = measurement[key]
      if (figure !== undefined)
        demand(isFinite(figure) && Math.abs(figure) <= 1e126, `${key} ${JSON.stringify(figure)}`)
    }
  }
}

function identityOf({ name, source, tags, measure_time, time }: Record<string, unknown>): string {
  return JSON.stringify([name, source, tags, measure_time, time]).toLowerCase()
}
