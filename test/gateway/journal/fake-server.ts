import type { JournalReply, JournalServer } from '../../../gateway/journal/server.ts'

/** What becomes of a command: done and answered, done and not answered, or refused. */
export type Fate = 'done' | 'unanswered' | 'refused' | 'full'

/** A Redis of streams in memory that fails as it is told to. */
export class FakeServer implements JournalServer {
  readonly name: string = 'redis://fake'
  readonly session: number = 0
  /** Entries by stream, in order. */
  readonly streams: Map<string, Buffer[]> = new Map<string, Buffer[]>()
  readonly strings: Map<string, string> = new Map<string, string>()
  /** What becomes of the next commands that write a stream; then all are done. */
  readonly fates: Fate[] = []
  /** What writes wait for. */
  gate: Promise<void> = Promise.resolve()
  writes = 0
  closed = false
  info_: Record<string, string> = {
    role: 'master',
    maxmemory: '0',
    used_memory: '1000',
    maxmemory_policy: 'noeviction',
  }

  async send(command: string, ...args: (string | number | Buffer)[]): Promise<JournalReply> {
    const key = String(args[0])
    if (command === 'GET') return this.#text(this.strings.get(key))
    if (command === 'SET') {
      if (!this.strings.has(key)) this.strings.set(key, String(args[1]))
      return this.#text('OK')
    }
    if (command !== 'XADD') return command === 'XLEN' ? 0 : []
    this.writes++
    await this.gate
    const fate = this.fates.shift() ?? 'done'
    if (fate === 'refused') throw new Error('connect ECONNREFUSED')
    if (fate === 'full') throw new Error('full', { cause: new Error('OOM command not allowed') })
    const entries = this.streams.get(key) ?? []
    this.streams.set(key, entries)
    entries.push(Buffer.from(args[3] as Buffer))
    if (fate === 'unanswered') throw new Error('the connection was lost before it answered')
    return this.#text(`${entries.length}-0`)
  }

  run(): Promise<JournalReply> {
    return Promise.resolve(null)
  }

  info(): Promise<readonly ReadonlyMap<string, string>[]> {
    return Promise.resolve([new Map(Object.entries(this.info_))])
  }

  nodeOf(): string {
    return ''
  }

  replicated(): Promise<void> {
    return Promise.resolve()
  }

  close(): void {
    this.closed = true
  }

  /** All that a stream holds. */
  bytes(key: string): Buffer {
    return Buffer.concat(this.streams.get(key) ?? [])
  }

  #text(text: string | undefined): Buffer | null {
    return text === undefined ? null : Buffer.from(text)
  }
}
