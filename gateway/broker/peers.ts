import type { Socket } from 'zeromq'

/** Who is connected to a bound socket. */
export class Peers {
  count = 0
  /** Connections that failed their handshake: no ZeroMQ, or wrong CURVE keys. */
  refused = 0
  #whenNone: (() => void) | undefined

  /** To be called before the socket is bound. */
  watch(socket: Socket, onRefused: () => void): void {
    const refuse = (): void => {
      this.refused++
      onRefused()
    }
    socket.events.on('accept', () => this.count++)
    socket.events.on('disconnect', () => {
      this.count--
      if (this.count <= 0) this.#whenNone?.()
    })
    socket.events.on('handshake:error:protocol', refuse)
    socket.events.on('handshake:error:auth', refuse)
    socket.events.on('handshake:error:other', refuse)
  }

  /** Resolves once nobody is connected, or after `timeoutMs`. */
  async gone(timeoutMs: number): Promise<void> {
    if (this.count <= 0 || timeoutMs <= 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#whenNone = (): void => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#whenNone = undefined
  }
}
