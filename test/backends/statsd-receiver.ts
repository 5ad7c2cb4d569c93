import { type Socket as Datagrams, createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net'

/** A line of StatsD, taken apart by the letter of its grammar. */
export interface Line {
  readonly name: string
  readonly value: string
  readonly type: string
  readonly rate: number
  readonly tags: string
  readonly text: string
}

export function parseLine(text: string): Line {
  const match = /^([^:|@#\s]+):([^:|@#\s]+)\|(c|g|ms|h|d|s)(?:\|@(\d+(?:\.\d+)?))?(?:\|#(.+))?$/.exec(text)
  if (match === null) throw new Error(`no line of StatsD: ${JSON.stringify(text)}`)
  const [, name, value, type, rate = '1', tags = ''] = match as unknown as [string, string, string, string]
  if (Number.isNaN(Number(value))) throw new Error(`no number: ${text}`)
  return { name, value, type, rate: Number(rate), tags, text }
}

/** Listens for StatsD lines, and refuses to understand anything else. */
export abstract class Receiver {
  readonly lines: Line[] = []
  /** Its place, as a backend's URL. */
  abstract readonly url: string
  abstract listen(): Promise<void>
  /** Stops to listen, and cuts off who is connected. */
  abstract stop(): Promise<void>

  protected take(text: string): void {
    this.lines.push(...text.split('\n').map(parseLine))
  }
}

export class PacketReceiver extends Receiver {
  /** Sizes of the packets. */
  readonly packets: number[] = []
  #socket: Datagrams | undefined
  #port = 0

  get url(): string {
    return `statsd://127.0.0.1:${this.#port}`
  }

  async listen(): Promise<void> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 })
    socket.on('message', (message) => {
      this.packets.push(message.length)
      this.take(message.toString('utf8'))
    })
    socket.bind(this.#port, '127.0.0.1')
    await once(socket, 'listening')
    this.#port = socket.address().port
    this.#socket = socket
  }

  async stop(): Promise<void> {
    const socket = this.#socket
    this.#socket = undefined
    socket?.close()
    if (socket !== undefined) await once(socket, 'close')
  }
}

export class StreamReceiver extends Receiver {
  /** Whether new connections are never read. */
  hanging = false
  readonly #sockets = new Set<Socket>()
  readonly #path: string | undefined
  #server: Server | undefined
  #port = 0

  /** @param path of a Unix socket; TCP without one */
  constructor(path?: string) {
    super()
    this.#path = path
  }

  get url(): string {
    return this.#path === undefined ? `statsd+tcp://127.0.0.1:${this.#port}` : `statsd+unix:${this.#path}`
  }

  async listen(): Promise<void> {
    const server = createServer((socket) => this.#read(socket))
    server.listen(this.#path === undefined ? { host: '127.0.0.1', port: this.#port } : { path: this.#path })
    await once(server, 'listening')
    if (this.#path === undefined) this.#port = (server.address() as AddressInfo).port
    this.#server = server
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    server?.close()
    this.cut()
    if (server !== undefined) await once(server, 'close')
  }

  /** Resets all connections. */
  cut(): void {
    for (const socket of this.#sockets) {
      // a reset is TCP's
      if (this.#path === undefined) socket.resetAndDestroy()
      else socket.destroy()
    }
  }

  #read(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => {})
    if (this.hanging) return
    let text = ''
    socket.setEncoding('utf8')
    socket.on('data', (piece: string) => (text += piece))
    socket.on('end', () => {
      if (!text.endsWith('\n')) throw new Error('the last line has no end')
      this.take(text.slice(0, -1))
    })
  }
}
