import { once } from 'node:events'
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Random } from './random.ts'

/** A rollup as a worker posted it. */
export interface Recorded {
  readonly type: string
  readonly name: string
  readonly source: string
  readonly tags: Readonly<Record<string, string>>
  readonly value?: number
  readonly count?: number
  readonly sum?: number
  readonly total?: number
  readonly m1?: number
  readonly m5?: number
  readonly m15?: number
}

/** What a worker posts. */
export interface Post {
  readonly pid: number
  readonly start: number
  readonly end: number
  readonly rollups: readonly Recorded[]
}

/** What was accepted for one series and window. */
export interface Point {
  readonly rollup: Recorded
  readonly interval: number
  /** Who posted it, once for each time that it was accepted. */
  readonly pids: number[]
  /** Values that were not the first one, which must not be. */
  readonly others: string[]
}

/** How a post is treated. `late` and `slow` take up to 20 s. */
type Treatment = 'accept' | 'refuse' | 'reset' | 'lie' | 'reset after' | 'late' | 'slow'

const TREATMENTS: Readonly<Record<Treatment, number>> = {
  accept: 60,
  refuse: 10,
  reset: 6,
  lie: 8,
  'reset after': 8,
  late: 4,
  slow: 4,
}

/** A request that is held until somebody says how it goes on. */
export interface Held {
  readonly pid: number
  readonly end: number
  release(): void
}

/** The time series database at the end: accepts windows, and misbehaves as backends do. */
export class Recorder implements AsyncDisposable {
  /** By series and time. */
  readonly points: Map<string, Map<number, Point>> = new Map()
  /** Posts by how they were treated. */
  readonly treated: Record<string, number> = {}
  /** Accepted posts, oldest first, without what was in them. */
  readonly posts: { readonly pid: number; readonly end: number; readonly timeMs: number }[] = []
  /** Whether posts are accepted at once. */
  calm: boolean = true
  readonly #random: Random
  readonly #server: Server
  readonly #longestMs: number
  #hold: { path: string; found: (held: Held) => void } | undefined

  private constructor(random: Random, longestMs: number) {
    this.#random = random
    this.#longestMs = longestMs
    this.#server = createServer((request, response) => void this.#answer(request, response))
  }

  /** @param longestMs the longest delay of an answer */
  static async start(random: Random, longestMs = 20_000): Promise<Recorder> {
    const recorder = new Recorder(random, longestMs)
    recorder.#server.listen(0, '127.0.0.1')
    await once(recorder.#server, 'listening')
    return recorder
  }

  /** What `--to` takes. */
  url(options = ''): string {
    const { port } = this.#server.address() as AddressInfo
    const file = new URL('recording-backend.mjs', import.meta.url).pathname
    return `module:${file}?recorder=http://127.0.0.1:${port}${options}`
  }

  /** Holds the next request to a path before anything is done about it. */
  holdNext(path: '/ask' | '/windows'): Promise<Held> {
    return new Promise((found) => (this.#hold = { path, found }))
  }

  /** Sums of every series over all windows. */
  sum(key: string): { count: number; sum: number } {
    let [count, sum] = [0, 0]
    for (const { rollup } of this.points.get(key)?.values() ?? []) {
      count += rollup.count ?? 0
      // a counter has a value, a distribution a sum, a meter neither
      sum += rollup.type === 'meter' ? (rollup.count ?? 0) : (rollup.sum ?? rollup.value ?? 0)
    }
    return { count, sum }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer)
    } catch {
      // whoever posts was killed
      return
    }
    const post = JSON.parse(Buffer.concat(chunks).toString()) as Post
    const hold = this.#hold
    if (hold !== undefined && request.url === hold.path) {
      this.#hold = undefined
      await new Promise<void>((release) => hold.found({ pid: post.pid, end: post.end, release }))
    }
    if (request.url === '/ask') {
      response.end()
      return
    }
    await this.#treat(post, response)
  }

  async #treat(post: Post, response: ServerResponse): Promise<void> {
    const treatment = this.calm ? 'accept' : this.#random.weighted(TREATMENTS)
    this.treated[treatment] = (this.treated[treatment] ?? 0) + 1
    if (treatment === 'late') await this.#delay()
    if (treatment !== 'refuse' && treatment !== 'reset') this.#accept(post)
    if (treatment === 'slow') await this.#delay()
    if (treatment === 'reset' || treatment === 'reset after') response.destroy()
    else response.writeHead(treatment === 'refuse' || treatment === 'lie' ? 500 : 200).end()
  }

  #accept({ pid, start, end, rollups }: Post): void {
    this.posts.push({ pid, end, timeMs: Date.now() })
    for (const rollup of rollups) {
      const key = keyOf(rollup)
      let windows = this.points.get(key)
      if (windows === undefined) this.points.set(key, (windows = new Map<number, Point>()))
      const known = windows.get(end)
      if (known === undefined) {
        windows.set(end, { rollup, interval: end - start, pids: [pid], others: [] })
        continue
      }
      known.pids.push(pid)
      const [first, now] = [JSON.stringify(known.rollup), JSON.stringify(rollup)]
      if (first !== now) known.others.push(`${first} and then, from ${pid}, ${now}`)
    }
  }

  async #delay(): Promise<void> {
    const ms = this.#random.between(Math.min(500, this.#longestMs), this.#longestMs)
    const deadline = performance.now() + ms
    // what is still delayed when the storm is over comes then
    while (!this.calm && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** How ledgers and rollups name a series alike. */
export function keyOf({ type, name, source, tags }: Pick<Recorded, 'type' | 'name' | 'source' | 'tags'>): string {
  const pairs = Object.entries(tags).map(([key, value]) => ` ${key}=${value}`)
  return `${type} ${name} of ${source}${pairs.join('')}`
}
