import { connect } from 'node:net'

/**
 * Posts bodies in turn over some connections, one request under way on each, and counts the answers. Written on sockets:
 * an HTTP client would take more of the machine than the servers that are measured.
 */
export class Load {
  answers = 0
  /** @type {Buffer[]} */
  #requests
  /** @type {import('node:net').Socket[]} */
  #sockets = []
  #next = 0
  /** @type {Error | undefined} */
  #failure

  /** @param {{ port: number, contentType: string, bodies: readonly Uint8Array[] }} options */
  constructor({ port, contentType, bodies }) {
    this.port = port
    this.#requests = bodies.map((body) =>
      Buffer.concat([
        Buffer.from(
          `POST /v1/metrics HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: ${contentType}\r\n` +
            `content-length: ${body.length}\r\n\r\n`,
        ),
        body,
      ]),
    )
  }

  /** @param {number} connections */
  async start(connections) {
    for (let index = 0; index < connections; index++) await this.#open()
    for (const socket of this.#sockets) this.#post(socket)
  }

  stop() {
    for (const socket of this.#sockets) socket.destroy()
    if (this.#failure !== undefined) throw this.#failure
  }

  async #open() {
    const socket = connect(this.port, '127.0.0.1')
    socket.setNoDelay(true)
    let pending = ''
    socket.on('data', (data) => {
      pending += data.latin1Slice()
      const length = answerLength(pending)
      if (length < 0 || pending.length < length) return
      if (!pending.startsWith('HTTP/1.1 202') || pending.length > length) {
        this.#failure ??= new Error(`bench: the server answered ${pending.slice(0, 300)}`)
        socket.destroy()
        return
      }
      pending = ''
      this.answers++
      this.#post(socket)
    })
    socket.on('error', (error) => (this.#failure ??= error))
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    this.#sockets.push(socket)
  }

  /** @param {import('node:net').Socket} socket */
  #post(socket) {
    socket.write(this.#requests[this.#next++ % this.#requests.length])
  }
}

/** Bytes of an answer, or -1 while its head is not complete. @param {string} text */
function answerLength(text) {
  const head = text.indexOf('\r\n\r\n')
  if (head < 0) return -1
  const length = /\r\ncontent-length: (\d+)/i.exec(text)?.[1]
  if (length === undefined) throw new Error(`bench: an answer without a length: ${text.slice(0, 300)}`)
  return head + 4 + Number(length)
}
