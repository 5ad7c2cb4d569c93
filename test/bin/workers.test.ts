import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rangesText, spanText } from '../../bin/cli/redis.ts'
import { Playground, type Program } from '../flow/processes.ts'
import { RedisServer } from '../redis-server.ts'
import { until } from '../until.ts'
import { logged, logs, start, zibrato } from './cli.ts'

let server: RedisServer

beforeAll(async () => {
  server = await RedisServer.start('--requirepass', 'hush')
})

afterAll(() => server.stop())

const env = { REDIS_PASSWORD: 'hush' }
const url = (prefix: string): string => `redis://:$REDIS_PASSWORD@127.0.0.1:${server.port}?prefix=${prefix}&lease=1s`

interface WorkersJson {
  readonly workers: readonly { readonly id: string; readonly pid: number; readonly shards: readonly number[] }[]
  readonly shards: readonly { readonly owner: string | null; readonly outbox: { readonly windows: number } }[]
}

async function json(ground: Playground, prefix: string, ...args: string[]): Promise<WorkersJson> {
  const { stdout, stderr, code } = await zibrato(ground, ['workers', '--state', url(prefix), '--json', ...args], {
    env,
  })
  expect([code, stderr]).toEqual([0, ''])
  return JSON.parse(stdout) as WorkersJson
}

async function worker(ground: Playground, prefix: string, ...args: string[]): Promise<Program> {
  const program = start(ground, ['worker', '--state', url(prefix), '--to', 'file:out.jsonl', ...args], env)
  await logged(program, 'listening')
  return program
}

describe('zibrato workers', () => {
  it('shows who has what, as a table and as JSON, and who is gone is nobody', async () => {
    await using ground = new Playground()
    const up = start(
      ground,
      ['up', '--port', '0', '--http', '0', '--state', url('a:'), '--flush', '200ms', '--to', 'file:out.jsonl'],
      env,
    )
    const { broker, state } = (await logged(up, 'listening')) as { broker: { publishers: string }; state: string }
    // neither password nor options are anybody's business
    expect(state).toBe(`redis://127.0.0.1:${server.port}`)
    expect(up.stderr).not.toContain('hush')
    expect(logs(up).filter(({ level }) => level !== 'info')).toEqual([])
    const second = await worker(ground, 'a:', '--broker', broker.publishers, '--flush', '200ms')
    await until(async () => (await json(ground, 'a:')).workers.every(({ shards }) => shards.length === 16))
    const sent = await zibrato(ground, ['send', 'counter', 'orders', '5', '--broker', broker.publishers])
    expect(sent.code).toBe(0)
    await until(() => ground.sums('out.jsonl').get('orders') === 5)
    const { stdout } = await zibrato(ground, ['workers', '--state', url('a:')], { env })
    const [titles, ...rows] = stdout.trim().split('\n')
    expect(titles).toMatch(/^WORKER +HOST +PID +SINCE +HEARD +LAG +OUTBOX +COMMITTED +SHARDS$/)
    expect(rows).toHaveLength(2)
    expect(rows.every((row) => / 16: \d/.test(row))).toBe(true)
    expect(rows.some((row) => /\bago\b/.test(row))).toBe(true)
    const { workers, shards } = await json(ground, 'a:')
    expect(new Set(workers.map(({ pid }) => pid))).toEqual(new Set([up.pid, second.pid]))
    expect(shards.every(({ owner }) => owner !== null)).toBe(true)
    await Promise.all([up.stop(), second.stop()])
    const gone = await zibrato(ground, ['workers', '--state', url('a:')], { env })
    expect(gone.stdout).toMatch(/\nnobody .* 32: 0-31\n$/)
  })

  it('of a state that is not Redis, or not there, says so in one line', async () => {
    await using ground = new Playground()
    const file = await zibrato(ground, ['workers', '--state', 'file:x'])
    expect([file.code, file.stderr]).toEqual([
      2,
      'zibrato: --state: only workers on Redis can be looked at from outside; give redis://HOST\n',
    ])
    const closed = await zibrato(ground, ['workers', '--state', 'redis://:hush@127.0.0.1:1'])
    expect(closed.code).toBe(1)
    expect(closed.stderr).toMatch(/^zibrato: state redis:\/\/127\.0\.0\.1:1: cannot be reached .*\n$/)
    expect(closed.stderr).not.toContain('hush')
  })
})

describe('zibrato groups', () => {
  it('lists them with their settings, and forgets one that nobody uses', async () => {
    await using ground = new Playground()
    const { listening } = await ground.zibrato('broker', '--port', '0')
    const broker = listening.broker?.publishers as string
    const shop = await worker(ground, 'b:', '--broker', broker, '--group', 'shop', '--flush', '200ms')
    const bank = await worker(ground, 'b:', '--broker', broker, '--group', 'bank', '--flush', '1m', '--levels', 'info')
    await zibrato(ground, ['send', 'counter', 'orders', '5', '--broker', broker])
    await until(() => ground.sums('out.jsonl').get('orders') === 5)
    const { stdout } = await zibrato(ground, ['groups', '--state', url('b:'), '--json'], { env })
    const groups = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(groups).toMatchObject([
      { group: 'bank', settings: { flush: '60s', levels: 'info', lease: '1s' }, workers: [expect.any(String)] },
      { group: 'shop', settings: { flush: '200ms', levels: 'all' }, shards: 1, outbox: { windows: 0, bytes: 0 } },
    ])
    // settings that differ are refused while others live
    const refused = await zibrato(
      ground,
      ['worker', '--state', url('b:'), '--group', 'shop', '--flush', '5', '--to', 'file:out.jsonl'],
      { env },
    )
    expect(refused.code).toBe(2)
    expect(refused.stderr.split('\n').at(-2)).toMatch(/^zibrato: group shop: .* flush 200ms, this one 5s; .*--group/)
    const kept = await zibrato(ground, ['groups', 'forget', 'shop', '--state', url('b:')], { env })
    expect([kept.code, kept.stderr]).toEqual([2, expect.stringMatching(/1 of shop's workers live.*--force/)])
    await shop.stop()
    const forgotten = await zibrato(ground, ['groups', 'forget', 'shop', '--state', url('b:')], { env })
    expect([forgotten.code, forgotten.stdout]).toEqual([0, 'shop is forgotten\n'])
    const again = await zibrato(ground, ['groups', 'forget', 'shop', '--state', url('b:')], { env })
    expect([again.code, again.stderr]).toEqual([2, expect.stringContaining('there is no group shop')])
    // and a group of workers that live begins anew when that is asked for
    const forced = await zibrato(ground, ['groups', 'forget', 'bank', '--force', '--state', url('b:')], { env })
    expect(forced.code).toBe(0)
    await until(async () => (await json(ground, 'b:', '--group', 'bank')).workers[0]?.shards.length === 32)
    await bank.stop()
    const table = await zibrato(ground, ['groups', '--state', url('b:')], { env })
    expect(table.stdout).not.toContain('shop')
  })

  it('says what it takes', async () => {
    await using ground = new Playground()
    for (const args of [['forget'], ['remove', 'x'], ['forget', 'x', 'y']]) {
      const { code, stderr } = await zibrato(ground, ['groups', ...args])
      expect([code, stderr]).toEqual([
        2,
        'zibrato: groups: takes nothing, or "forget NAME"; see zibrato groups --help\n',
      ])
    }
  })
})

describe('two zibrato up', () => {
  it('cannot share a group, as each has a broker of its own', async () => {
    await using ground = new Playground()
    const args = ['up', '--port', '0', '--http', '0', '--state', url('c:'), '--to', 'file:out.jsonl']
    const first = start(ground, args, env)
    await logged(first, 'listening')
    const second = start(ground, args, env)
    expect(await second.ended).toBe(2)
    expect(second.stderr).toMatch(/have broker .*:\d+, this one .*:\d+; /)
    expect(await first.stop()).toBe(0)
  })
})

describe('figures to read', () => {
  it.each([
    [0, '0ms'],
    [850, '850ms'],
    [12_345, '12s'],
    [100_000, '2m'],
    [7_200_000, '2h'],
    [300_000_000, '3d'],
  ])('%d ms is %s', (ms, text) => {
    expect(spanText(ms)).toBe(text)
  })

  it('shards stand in ranges', () => {
    expect(rangesText([])).toBe('')
    expect(rangesText([3, 0, 1, 7, 2, 9, 8])).toBe('0-3 7-9')
    expect(rangesText([5])).toBe('5')
  })
})
