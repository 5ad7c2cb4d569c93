import type { Cluster, Redis } from 'ioredis'
import type { Script } from './scripts.ts'
import { explain, troubleOf } from './trouble.ts'

export type Client = Redis | Cluster

export type Argument = string | number | Uint8Array

/** What a command answers: bytes where text may be. */
export type Reply = Buffer | number | null | readonly Reply[]

export interface ConnectionOptions {
  /** For errors, without secrets. */
  readonly name: string
  /** How long an answer may take, ms. */
  readonly timeoutMs: number
  /** Names the node that has a key. */
  readonly nodeOf: (key: string) => string
  /** Sends what names no key itself to the node that has a key. */
  readonly sendTo: (key: string, command: string, args: readonly Argument[]) => unknown
}

/** Where the client tells of what went wrong: itself, a node of a Cluster, a Sentinel. */
const ERRORS = ['error', 'node error', 'sentinelError']

/** Sends commands over one client, and never one twice: what was not answered is the caller's to think about. */
export class Connection {
  readonly name: string
  readonly #client: Client
  readonly #options: ConnectionOptions
  #session = 0
  // why it is not connected, as far as that is known
  #lastError: Error | undefined
  #stopWaiting: () => void = () => {}
  #isClosed = false

  constructor(client: Client, options: ConnectionOptions) {
    this.#client = client
    this.#options = options
    this.name = options.name
    const note = (error: Error): void => {
      // a master that Sentinels do not have yet is no reason to doubt them
      if (error.message.endsWith('ms.') && this.#lastError !== undefined) return
      this.#lastError = error
    }
    for (const event of ERRORS) client.on(event, note)
    for (const event of ['close', '-node']) client.on(event, () => this.#session++)
    client.on('ready', () => (this.#lastError = undefined))
  }

  /**
   * Grows when a connection was lost or a command was not answered: what was sent before may or may not have been done, or
   * still be, and who answers now may be another server.
   */
  get session(): number {
    return this.#session
  }

  /** Calls `listener` each time it is connected anew. */
  onReady(listener: () => void): void {
    this.#client.on('ready', listener)
  }

  /**
   * Resolves once commands can be sent.
   *
   * @param onWaiting told, once, why that takes longer
   * @throws what keeps it from connecting: at once when only somebody's hand can change that, else after `timeoutMs`
   */
  async ready(timeoutMs: number, onWaiting: (why: string) => void = () => {}): Promise<void> {
    const client = this.#client
    let [last, isTold]: [Error, boolean] = [new Error('no answer yet'), false]
    let settle = (): void => {}
    try {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(this.#explained(last)), timeoutMs)
        const failed = (error: Error): void => {
          last = error
          if (troubleOf(error)?.lasting === true) reject(this.#explained(error))
          else if (!isTold) onWaiting(explain(this.name, error))
          isTold = true
        }
        this.#stopWaiting = () => reject(new Error(`state ${this.name}: closed before it was connected`))
        if (this.#isClosed) this.#stopWaiting()
        settle = () => {
          clearTimeout(timer)
          client.off('ready', resolve)
          for (const event of ERRORS) client.off(event, failed)
        }
        client.on('ready', resolve)
        for (const event of ERRORS) client.on(event, failed)
        if (this.#lastError !== undefined) failed(this.#lastError)
        else if (client.status === 'ready') resolve()
      })
    } finally {
      settle()
    }
  }

  /** @throws Error that says what is wrong and what to do; its `cause` is what the server or the network said */
  send(command: string, ...args: Argument[]): Promise<Reply> {
    return this.#inTime(() => this.#client.callBuffer(command, ...(args as (string | number | Buffer)[])))
  }

  /** Runs a script, which the server is taught when it does not know it. */
  async run(script: Script, keys: readonly string[], args: readonly Argument[]): Promise<Reply> {
    try {
      return await this.send('EVALSHA', script.sha, keys.length, ...keys, ...args)
    } catch (error) {
      if (!((error as Error).cause as Error | undefined)?.message.startsWith('NOSCRIPT')) throw error
      return this.send('EVAL', script.source, keys.length, ...keys, ...args)
    }
  }

  /** What each node that takes writes says of itself: INFO, by name. */
  async info(): Promise<readonly ReadonlyMap<string, string>[]> {
    const client = this.#client
    const nodes = 'nodes' in client ? client.nodes('master') : [client]
    const texts = await Promise.all(nodes.map((node) => this.#inTime(() => node.callBuffer('INFO'))))
    return texts.map((text) => {
      const pairs = String(text).matchAll(/^(\w+):(.*?)\r?$/gm)
      return new Map(Array.from(pairs, ([, name = '', value = '']) => [name, value]))
    })
  }

  /** Names the node that has a key. */
  nodeOf(key: string): string {
    return this.#options.nodeOf(key)
  }

  /**
   * Resolves once so many replicas have what was written to a key's node over this connection.
   *
   * @param timeoutMs how long they may take; other commands have to wait meanwhile
   * @param since the session in which it was written
   * @throws when they have not in time, or it was another connection: whoever asked does it again
   */
  async replicated(key: string, replicas: number, timeoutMs: number, since: number): Promise<void> {
    // what takes longer than an answer may would look as if there were no server
    const patienceMs = Math.ceil(Math.min(timeoutMs, this.#options.timeoutMs / 2))
    const answer = await this.#inTime(() => this.#options.sendTo(key, 'WAIT', [replicas, patienceMs]))
    if (this.#session !== since) throw this.#explained(new Error('the connection was lost'))
    if (Number(answer) < replicas) {
      throw this.#explained(new Error(`${Number(answer)} replicas have what was written, not ${replicas}`))
    }
  }

  close(): void {
    this.#isClosed = true
    this.#client.disconnect()
    this.#stopWaiting()
  }

  async #inTime(send: () => unknown): Promise<Reply> {
    if (this.#client.status !== 'ready') throw this.#explained(this.#lastError ?? new Error('is not connected'))
    const { timeoutMs } = this.#options
    const tooLate = new Error(`no answer within ${timeoutMs / 1000} s`)
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(tooLate), timeoutMs)
    })
    try {
      const answer = Promise.resolve(send())
      // once it is too late, nobody else listens
      answer.catch(() => {})
      return (await Promise.race([answer, late])) as Reply
    } catch (error) {
      if (isAnswer(error as Error)) throw this.#explained(error as Error)
      this.#session++
      // the library speaks of its own queues and options
      throw this.#explained(error === tooLate ? tooLate : (this.#lastError ?? new Error('the connection was lost')))
    } finally {
      clearTimeout(timer)
    }
  }

  #explained(cause: Error): Error {
    return new Error(explain(this.name, cause), { cause })
  }
}

/** Whether it is what a server said: that a command was not done, which while a slot of a Cluster moves is said often. */
export function isAnswer({ name, message }: Error): boolean {
  return name === 'ReplyError' || message.startsWith('Too many Cluster redirections. Last error: ReplyError')
}
