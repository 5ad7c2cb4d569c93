import { type Point, parseLine } from './influx-lines.ts'
import { type Answer, type Request, Service, reset, status } from './service.ts'

const PER_SECOND: Readonly<Record<string, number>> = { s: 1, ms: 1e3, u: 1e6, us: 1e6, n: 1e9, ns: 1e9 }

/** A point as the database keeps it; `time` in seconds. */
export type Kept = Omit<Point, 'time'> & { readonly time: number }

/** A database that takes lines by the letter of the protocol: of one series and time it keeps one point. */
export class InfluxServer {
  /** What was wrong with requests, none if all were right. */
  readonly faults: string[] = []
  /** Measurements that it has another type for, so that their points are dropped. */
  readonly bad: Set<string> = new Set()
  /** How it answers when points are dropped: as version 1 does, as version 3 does, or by refusing the whole request. */
  drops: 'v1' | 'v3' | 'all' = 'v1'
  readonly service: Service
  readonly #points = new Map<string, Kept>()
  readonly #expected: string

  private constructor(service: Service, expected: string) {
    this.service = service
    this.#expected = expected
    service.answer = this.take
  }

  /** @param expected path and query of every request */
  static async start(expected: string): Promise<InfluxServer> {
    return new InfluxServer(await Service.start(), expected)
  }

  get points(): Kept[] {
    return [...this.#points.values()]
  }

  /** The ordinary answer. */
  readonly take: Answer = (response, request) => this.#take(request)(response, request)

  /** Takes all, and never says so. */
  readonly takeAndReset: Answer = (response, request) => {
    this.#take(request)
    reset(response, request)
  }

  #take(request: Request): Answer {
    let points: Kept[]
    try {
      points = this.#read(request)
    } catch (error) {
      this.faults.push((error as Error).message)
      return status(400, (error as Error).message)
    }
    const dropped = points.filter(({ measurement }) => this.bad.has(measurement))
    if (dropped.length > 0 && this.drops === 'all') return status(422, '{"code":"unprocessable entity"}')
    for (const point of points) if (!dropped.includes(point)) this.#keep(point)
    if (dropped.length === 0) return status(204)
    if (this.drops === 'v1') {
      const why = `field type conflict: input field "value" is type float, already exists as type integer ${'.'.repeat(300)}`
      return status(400, JSON.stringify({ error: `partial write: ${why} dropped=${dropped.length}` }))
    }
    const data = dropped.map((_, index) => ({ line_number: index + 1, error_message: 'invalid column type' }))
    return status(400, JSON.stringify({ error: 'partial write of line protocol occurred', data }))
  }

  #read({ method, path, body }: Request): Kept[] {
    if (method !== 'POST' || path !== this.#expected) throw new Error(`asked for ${method} ${path}`)
    const perSecond = PER_SECOND[new URLSearchParams(path.replace(/.*\?/, '')).get('precision') ?? '']
    if (perSecond === undefined) throw new Error(`no precision: ${path}`)
    const lines = body.split('\n')
    if (lines.length > 5100) throw new Error(`${lines.length} lines at once`)
    return lines.map((line) => {
      const { time, ...point } = parseLine(line)
      return { ...point, time: Number(time) / perSecond }
    })
  }

  #keep(point: Kept): void {
    const { measurement, tags, fields, time } = point
    const key = JSON.stringify([measurement, Object.entries(tags), time])
    this.#points.set(key, { ...point, fields: { ...this.#points.get(key)?.fields, ...fields } })
  }
}
