import { type TakenPoint, type TakenRequest, readJson, readProtobuf, takeRequest } from './otlp-messages.ts'
import { type Answer, type Request, Service, reset, status } from './service.ts'

/** A collector that takes only what OTLP/HTTP allows, and answers 400 with the reason otherwise. */
export class Collector {
  readonly requests: TakenRequest[] = []
  /** What was wrong with requests, none if all were right. */
  readonly faults: string[] = []
  /** Refuses a whole request for one of these, as some services do. */
  readonly bad: Set<string> = new Set()
  readonly service: Service
  readonly #path: string

  private constructor(service: Service, path: string) {
    this.service = service
    this.#path = path
    service.answer = this.take
  }

  static async start(path = '/v1/metrics'): Promise<Collector> {
    return new Collector(await Service.start(), path)
  }

  get points(): TakenPoint[] {
    return this.requests.flatMap(({ points }) => points)
  }

  /** The ordinary answer. */
  readonly take: Answer = (response, request) => {
    const fault = this.#take(request)
    if (fault !== undefined) return status(400, fault)(response, request)
    const contentType = request.headers['content-type'] ?? ''
    const empty = contentType === 'application/json' ? '{}' : ''
    return status(200, empty, { 'content-type': contentType })(response, request)
  }

  /** Takes all, and never says so. */
  readonly takeAndReset: Answer = (response, request) => {
    this.#take(request)
    reset(response, request)
  }

  #take(request: Request): string | undefined {
    try {
      const taken = takeRequest(this.#read(request))
      if (taken.points.some(({ name }) => this.bad.has(name))) return 'a bad name'
      this.requests.push(taken)
      return undefined
    } catch (error) {
      this.faults.push((error as Error).message)
      return (error as Error).message
    }
  }

  #read({ method, path, headers, body, bytes }: Request): Record<string, unknown> {
    if (method !== 'POST' || path !== this.#path) throw new Error(`asked for ${method} ${path}`)
    const type = 'ExportMetricsServiceRequest'
    switch (headers['content-type']) {
      case 'application/json':
        return readJson(JSON.parse(body), type)
      case 'application/x-protobuf':
        return readProtobuf(bytes, type)
      default:
        throw new Error(`a body is ${headers['content-type']}`)
    }
  }
}
