import { once } from 'node:events'
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { uncompress } from 'snappyjs'

/** Fields of a protobuf message by number, each as often as it came: numbers, or bytes for what is longer. */
type Fields = Map<number, (number | Uint8Array)[]>

export interface Histogram {
  readonly timeMs: number
  readonly count: number
  readonly sum: number
  readonly zeros: number
  /** Weight by index: the bucket's upper bound is 2^(index/64). */
  readonly positive: ReadonlyMap<number, number>
  readonly negative: ReadonlyMap<number, number>
  readonly isFloat: boolean
}

export interface Series {
  readonly labels: Readonly<Record<string, string>>
  readonly samples: { readonly timeMs: number; readonly value: number }[]
  readonly histograms: Histogram[]
}

/** Answers instead of taking: a status, or nothing at all, or a cut connection; `taken` says whether it was kept before. */
export type Mood =
  | {
      readonly status: number
      readonly headers?: Record<string, string>
      readonly body?: string
      readonly taken?: boolean
    }
  | { readonly silent: true }
  | { readonly cut: true }

/**
 * Takes remote write 1.0 as strictly as its specification allows, and a request whole or not at all, as Prometheus does.
 * It decodes by itself, and refuses with 400: labels out of order, twice, empty or misnamed, samples out of order, and
 * another value for the newest time.
 */
export class Receiver {
  readonly requests: {
    readonly headers: IncomingMessage['headers']
    readonly path: string
    readonly samples: number
  }[] = []
  readonly series: Map<string, Series> = new Map()
  readonly next: Mood[] = []
  mood: Mood | undefined
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => this.#answer(request, response, Buffer.concat(chunks)))
    })
  }

  static async start(): Promise<Receiver> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new Receiver(server)
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  /** What stands at a series; its name is the label `__name__`. */
  at(labels: Readonly<Record<string, string>>): Series | undefined {
    return this.series.get(keyOf(labels))
  }

  #answer(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    const mood = this.next.shift() ?? this.mood
    let refusal: string | undefined
    const isTaken = mood === undefined || 'cut' in mood || ('taken' in mood && mood.taken === true)
    let samples = 0
    try {
      const taken = decodeRequest(request, body)
      samples = taken.reduce((sum, series) => sum + series.samples.length + series.histograms.length, 0)
      if (isTaken) this.#take(taken)
    } catch (error) {
      refusal = (error as Error).message
    }
    this.requests.push({ headers: request.headers, path: request.url ?? '', samples })
    if (mood !== undefined && 'silent' in mood) return
    if (mood !== undefined && 'cut' in mood) {
      response.socket?.resetAndDestroy()
      return
    }
    if (refusal !== undefined) response.writeHead(400).end(refusal)
    else if (mood === undefined) response.writeHead(204).end()
    else response.writeHead(mood.status, mood.headers).end(mood.body)
  }

  #take(taken: readonly Series[]): void {
    for (const series of taken) {
      const known = this.series.get(keyOf(series.labels))
      for (const { timeMs, value } of series.samples) {
        const last = known?.samples.at(-1)
        if (last === undefined || timeMs > last.timeMs) continue
        // even one that is there
        if (timeMs < last.timeMs) throw new Error('out of order sample')
        if (!Object.is(last.value, value)) throw new Error('duplicate sample for timestamp')
      }
      for (const { timeMs } of series.histograms) {
        if (timeMs < (known?.histograms.at(-1)?.timeMs ?? 0)) throw new Error('out of order sample')
      }
    }
    for (const { labels, samples, histograms } of taken) {
      const key = keyOf(labels)
      let known = this.series.get(key)
      if (known === undefined) this.series.set(key, (known = { labels, samples: [], histograms: [] }))
      const last = known.samples.at(-1)?.timeMs ?? 0
      known.samples.push(...samples.filter(({ timeMs }) => timeMs > last))
      const lastHistogram = known.histograms.at(-1)?.timeMs ?? 0
      known.histograms.push(...histograms.filter(({ timeMs }) => timeMs > lastHistogram))
    }
  }
}

function keyOf(labels: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.entries(labels).sort(([left], [right]) => (left < right ? -1 : 1)))
}

function decodeRequest({ method, headers }: IncomingMessage, body: Buffer): Series[] {
  const must = (holds: boolean, what: string): void => {
    if (!holds) throw new Error(what)
  }
  must(method === 'POST', `a ${method}`)
  must(headers['content-type'] === 'application/x-protobuf', `content-type ${headers['content-type']}`)
  must(headers['content-encoding'] === 'snappy', `content-encoding ${headers['content-encoding']}`)
  must(headers['x-prometheus-remote-write-version'] === '0.1.0', 'no version')
  must(/^zibrato\/\d/.test(headers['user-agent'] ?? ''), 'no user agent')
  const request = fieldsOf(uncompress(new Uint8Array(body)))
  must(
    [...request.keys()].every((field) => field === 1),
    'a field that is no series',
  )
  const series = messages(request, 1).map(decodeSeries)
  must(new Set(series.map(({ labels }) => keyOf(labels))).size === series.length, 'a series comes twice')
  return series
}

function decodeSeries(fields: Fields): Series {
  const labels: Record<string, string> = Object.create(null) as Record<string, string>
  let previous: Buffer = Buffer.alloc(0)
  for (const label of messages(fields, 1)) {
    const [name, value] = [text(label, 1), text(label, 2)]
    if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name)) throw new Error(`no label: ${name}`)
    if (name !== '__name__' && name.startsWith('__')) throw new Error(`a label of Prometheus' own: ${name}`)
    if (value === '') throw new Error(`an empty label: ${name}`)
    if (Buffer.compare(previous, Buffer.from(name)) >= 0) throw new Error(`labels do not ascend at ${name}`)
    previous = Buffer.from(name)
    labels[name] = value
  }
  if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(labels['__name__'] ?? '')) throw new Error('no name')
  const samples = messages(fields, 2).map((sample) => ({ value: number(sample, 1), timeMs: number(sample, 2) }))
  const histograms = messages(fields, 4).map(decodeHistogram)
  for (const all of [samples, histograms]) {
    for (let index = 1; index < all.length; index++) {
      if ((all[index]?.timeMs ?? 0) <= (all[index - 1]?.timeMs ?? 0)) throw new Error('times do not ascend')
    }
  }
  if (samples.length + histograms.length === 0) throw new Error('a series without samples')
  return { labels, samples, histograms }
}

function decodeHistogram(fields: Fields): Histogram {
  if (zigzag(number(fields, 4)) !== 6) throw new Error('another schema')
  if (number(fields, 5) !== 0) throw new Error('another zero threshold')
  const isFloat = fields.has(2)
  const histogram = {
    timeMs: number(fields, 15),
    count: number(fields, isFloat ? 2 : 1),
    sum: number(fields, 3),
    zeros: number(fields, isFloat ? 7 : 6),
    negative: bucketsOf(fields, 8, isFloat),
    positive: bucketsOf(fields, 11, isFloat),
    isFloat,
  }
  const total = [...histogram.negative.values(), ...histogram.positive.values()].reduce((sum, each) => sum + each, 0)
  if (Math.abs(total + histogram.zeros - histogram.count) > histogram.count * 1e-9)
    throw new Error('buckets and count differ')
  return histogram
}

/** Spans stand in a field, differences of integers in the next, counts in the one after. */
function bucketsOf(fields: Fields, spans: number, isFloat: boolean): Map<number, number> {
  const indices: number[] = []
  let index = 0
  messages(fields, spans).forEach((span, place) => {
    const offset = zigzag(number(span, 1))
    if (place > 0 && offset < 1) throw new Error('spans that touch')
    index += offset
    for (let left = number(span, 2); left > 0; left--) indices.push(index++)
  })
  const packed = fields.get(isFloat ? spans + 2 : spans + 1)?.[0]
  const reader = new BinaryReader(packed instanceof Uint8Array ? packed : new Uint8Array())
  let previous = 0
  const weights = indices.map(() => {
    previous = isFloat ? reader.double() : previous + Number(reader.sint64())
    return previous
  })
  if (reader.pos !== reader.len) throw new Error('more weights than buckets')
  if (weights.some((weight) => !(weight > 0))) throw new Error('an empty bucket')
  return new Map(indices.map((each, place) => [each, weights[place] as number]))
}

function fieldsOf(bytes: Uint8Array): Fields {
  const reader = new BinaryReader(bytes)
  const fields: Fields = new Map()
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag()
    let value: number | Uint8Array
    if (type === WireType.LengthDelimited) value = reader.bytes()
    else if (type === WireType.Bit64) value = reader.double()
    else if (type === WireType.Varint) value = Number(reader.int64())
    else throw new Error(`wire type ${type}`)
    const values = fields.get(field)
    if (values === undefined) fields.set(field, [value])
    else values.push(value)
  }
  return fields
}

function messages(fields: Fields, field: number): Fields[] {
  return (fields.get(field) ?? []).map((value) => fieldsOf(value as Uint8Array))
}

function number(fields: Fields, field: number): number {
  const values = fields.get(field) ?? [0]
  if (values.length !== 1 || typeof values[0] !== 'number') throw new Error(`field ${field} is no number`)
  return values[0]
}

function text(fields: Fields, field: number): string {
  return new TextDecoder('utf-8', { fatal: true }).decode((fields.get(field)?.[0] ?? new Uint8Array()) as Uint8Array)
}

function zigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2
}
