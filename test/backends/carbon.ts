import { once } from 'node:events'
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net'

export interface Point {
  readonly path: string
  readonly value: number
  readonly time: number
}

/**
 * Takes a line of carbon's plain text protocol apart by the letter: what carbon 1.1 refuses, and what Graphite advises
 * against, is an error.
 */
export function parsePoint(line: string): Point {
  const [path = '', value = '', time = '', ...more] = line.split(' ')
  const [name = '', ...tags] = path.split(';')
  const isNumber = /^(?:-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|NaN|-?Infinity)$/.test(value)
  const keys = tags.map((tag) => /^([^;!^=\s]+)=[^~;\s][^;\s]*$/.exec(tag)?.[1])
  const isTagged = keys.every((key) => key !== undefined && key !== 'name') && new Set(keys).size === keys.length
  const isName = /^[\x21-\x7e]+$/.test(name) && name.split('.').every((part) => Buffer.byteLength(part) <= 255)
  if (more.length > 0 || !isName || !isTagged || !isNumber || !/^[1-9]\d{9}$/.test(time) || line.length > 16_384) {
    throw new Error(`no line that carbon takes: ${JSON.stringify(line)}`)
  }
  return { path, value: Number(value), time: Number(time) }
}

/** Listens as carbon-cache does: reads until a sender has ended, then ends too. Keeps of each (path, time) the last value. */
export class Carbon {
  readonly points: Map<string, Point> = new Map()
  /** Lines that no carbon takes. */
  readonly bad: unknown[] = []
  /** Text of each connection so far. */
  readonly texts: string[] = []
  /** Whether to read what comes; otherwise connections are taken and left alone. */
  reads = true
  /** Whether to end once a sender has ended. */
  ends = true
  /** Called with each piece of text. */
  onText: (socket: Socket, text: string) => void = () => {}
  readonly #host: string
  readonly #open = new Set<Socket>()
  #server: Server | undefined
  #port = 0

  constructor(host = '127.0.0.1') {
    this.#host = host
  }

  get host(): string {
    return this.#host
  }

  get port(): number {
    return this.#port
  }

  /** As a backend's URL. */
  get url(): string {
    return `graphite://${this.#host.includes(':') ? `[${this.#host}]` : this.#host}:${this.#port}`
  }

  /** All that came, but the sender's own figures. */
  get measured(): Point[] {
    return [...this.points.values()].filter(({ path }) => !/(^|\.)statsd\./.test(path))
  }

  /** The newest value of a path. */
  value(path: string): number | undefined {
    return [...this.points.values()].findLast((point) => point.path === path)?.value
  }

  async listen(): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#take(socket))
    server.listen(this.#port, this.#host)
    await once(server, 'listening')
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
  }

  /** Stops to listen, and cuts off who is connected. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    const closed = once(server, 'close')
    server.close()
    for (const socket of this.#open) socket.resetAndDestroy()
    await closed
  }

  #take(socket: Socket): void {
    this.#open.add(socket)
    socket.on('close', () => this.#open.delete(socket))
    socket.on('error', () => {})
    if (!this.reads) return
    const index = this.texts.push('') - 1
    let rest = ''
    socket.on('data', (data: Buffer) => {
      const text = data.toString('utf8')
      this.texts[index] += text
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) this.#keep(line)
      this.onText(socket, text)
    })
    socket.on('end', () => {
      if (rest !== '') this.bad.push(new Error(`a line without an end: ${rest}`))
      if (this.ends) socket.end()
    })
  }

  #keep(line: string): void {
    try {
      const point = parsePoint(line)
      this.points.set(`${point.path} ${point.time}`, point)
    } catch (error) {
      this.bad.push(error)
    }
  }
}
