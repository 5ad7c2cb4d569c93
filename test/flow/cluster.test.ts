import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { until } from '../until.ts'
import { DIST, Playground, type Program } from './processes.ts'

const SERVER = join(import.meta.dirname, 'cluster/server.mjs')
const CLIENTS = 8
const QUANTILES = { p50: 0.5, p75: 0.75, p95: 0.95, p99: 0.99, p999: 0.999 } as const

interface Series {
  readonly tags: Record<string, string>
  readonly value: number
  readonly count: number
  readonly [percentile: `p${number}`]: number
}

interface Stats {
  readonly requests: { readonly series: readonly Series[] }
  readonly latency: { readonly series: readonly Series[] }
  readonly half: Series
  readonly workers: { readonly value: number }
}

/** A server of four processes, told what to do on its standard input. */
class Server {
  readonly #program: Program

  constructor(playground: Playground) {
    const settings = { dist: DIST, address: `ipc://${join(playground.folder, 'm')}` }
    this.#program = playground.start(process.execPath, [SERVER], { SERVER: JSON.stringify(settings) })
  }

  /** Where it answers requests, and reports. */
  async started(): Promise<{ url: string; report: string }> {
    const { port, report } = await this.#answer<{ port: number; report: string }>('start')
    return { url: `http://127.0.0.1:${port}`, report }
  }

  async ask<Answer>(command: string): Promise<Answer> {
    this.#program.stdout = ''
    this.#program.child.stdin?.write(`${command}\n`)
    return this.#answer<Answer>(command)
  }

  #answer<Answer>(command: string): Promise<Answer> {
    return this.#program.output(({ stdout }) => {
      const line = stdout.split('\n').find((each) => each.startsWith(`{"command":"${command}"`) && each.endsWith('}'))
      return line === undefined || !stdout.includes('\n') ? undefined : (JSON.parse(line) as { answer: Answer }).answer
    }, `the answer to ${command}`)
  }
}

interface Load {
  /** The value that each answered request had recorded. */
  readonly values: number[]
  failed: number
}

/** Clients that ask one thing after the other until they are told to stop. */
function load(
  url: string,
  path: string,
  patienceMs: number,
): { load: Load; stop: () => Promise<void>; least: (count: number) => Promise<void> } {
  const state: Load = { values: [], failed: 0 }
  let asked = 0
  let stopped = false
  let waiting: { count: number; resolve: () => void } | undefined
  const client = async (): Promise<void> => {
    while (!stopped) {
      // values of three decades, in no order, each within half a percent of the next
      const seconds = 0.001 * 1.005 ** ((asked++ * 617) % 1381)
      try {
        // a connection that the primary hands to a worker which dies just then is never answered, nor closed
        const response = await fetch(`${url}${path}?seconds=${seconds}`, { signal: AbortSignal.timeout(patienceMs) })
        if ((await response.text()) !== 'counted') throw new Error('the aggregator is gone')
        state.values.push(seconds)
      } catch {
        state.failed++
        // so that none of this can take the whole of the test's time
        await setImmediate()
      }
      if (waiting !== undefined && state.values.length >= waiting.count) waiting.resolve()
    }
  }
  const clients = Array.from({ length: CLIENTS }, client)
  return {
    load: state,
    stop: async () => {
      stopped = true
      await Promise.all(clients)
    },
    least: (count) => new Promise((resolve) => (waiting = { count: state.values.length + count, resolve })),
  }
}

function of(series: readonly Series[], path: string): Series {
  return series.find(({ tags }) => tags['path'] === path) as Series
}

describe('a server of four processes', { timeout: 120_000 }, () => {
  test('reports what all of them answered, though workers are killed and replaced meanwhile', async () => {
    await using playground = new Playground()
    const server = new Server(playground)
    const { url, report } = await server.started()

    // four workers have recorded 0.5 each
    const before = await read(report)
    const { text } = await server.ask<{ text: string }>('prom')
    expect(before.half).toMatchObject({ count: 4, p50: 0.5, p99: 0.5 })
    expect(before.workers.value).toBe(4)
    expect(text).toContain('half{quantile="0.5"} 2\n')

    // one is taken off the load and killed: nothing that was answered is missing, and nothing else is counted
    const plain = load(url, '/plain', 50_000)
    await plain.least(200)
    expect(await server.ask('retire')).toBe('SIGKILL')
    await plain.least(200)
    await plain.stop()
    expect(plain.load.failed).toBe(0)

    // one is killed while it answers: those who got an answer are counted, and at most those who did not
    const confirmed = load(url, '/confirmed', 5_000)
    await confirmed.least(40)
    expect(await server.ask('kill')).toBe('SIGKILL')
    await confirmed.least(40)
    await confirmed.stop()

    // a worker hands in what it answered within its flush interval
    let after = await read(report)
    await until(async () => {
      after = await read(report)
      return of(after.requests.series, '/plain').value >= plain.load.values.length
    })
    expect(of(after.requests.series, '/plain').value).toBe(plain.load.values.length)
    const latency = of(after.latency.series, '/plain')
    expect(latency.count).toBe(plain.load.values.length)
    const values = plain.load.values.toSorted((left, right) => left - right)
    for (const [name, q] of Object.entries(QUANTILES) as [keyof typeof QUANTILES, number][]) {
      const exact = values[Math.ceil(q * values.length) - 1] as number
      expect(Math.abs((latency[name] as number) - exact) / exact, name).toBeLessThan(0.01)
    }
    const counted = of(after.requests.series, '/confirmed').value
    expect(counted).toBeGreaterThanOrEqual(confirmed.load.values.length)
    expect(counted).toBeLessThanOrEqual(confirmed.load.values.length + confirmed.load.failed)
  })
})

/** What the HTTP reporter answers. */
async function read(report: string): Promise<Stats> {
  return (await (await fetch(report)).json()) as Stats
}
