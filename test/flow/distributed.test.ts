import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { describe, expect, test } from 'vitest'
import type { Warning } from '../../client/warning.ts'
import { until as untilWithin } from '../until.ts'
import { DIST, Playground } from './processes.ts'

const ENTRY = pathToFileURL(join(DIST, 'client/distributed/index.js')).href
// as built, for its processes start in no time
const { AggregatorProcess, DistributedRegistry, RegistryAggregator } = (await import(
  ENTRY
)) as typeof import('../../client/distributed/index.ts')

/** Processes take their time on a busy machine. */
const PATIENCE_MS = 50_000

function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  return untilWithin(condition, condition.toString(), PATIENCE_MS)
}

function addressIn({ folder }: Playground): string {
  return `ipc://${join(folder, 'm')}`
}

/** Whether it has anything left to do; who is nobody's child any more may stay in the list of processes for a while. */
function isRunning(pid: string): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

describe('registries of processes and threads', { timeout: 2 * PATIENCE_MS }, () => {
  test('hand in what child processes record, which end by themselves', async () => {
    await using playground = new Playground()
    await using aggregator = await new RegistryAggregator({ address: addressIn(playground) }).start()
    const programs = [1, 2, 3].map((amount) =>
      playground.node(
        `import { DistributedRegistry } from '${ENTRY}'
        const registry = new DistributedRegistry({ flushInterval: '1h' })
        registry.counter('n').inc(${amount})
        registry.gauge('g', { combine: 'max' }).set(${amount})`,
        { ZIBRATO_AGGREGATOR: aggregator.address },
      ),
    )
    expect(await Promise.all(programs.map(({ ended }) => ended))).toEqual([0, 0, 0])
    expect(aggregator.getStats()).toMatchObject({ n: { value: 6 }, g: { value: 3 } })
  })

  test('hand in what threads record', async () => {
    await using playground = new Playground()
    await using aggregator = await new RegistryAggregator({ address: addressIn(playground) }).start()
    const code = `
      const { threadId, parentPort } = require('node:worker_threads')
      import('${ENTRY}').then(async ({ DistributedRegistry }) => {
        const registry = new DistributedRegistry({ flushInterval: '1h' })
        for (let count = 0; count < 100; count++) registry.timer('t').record(0.5)
        registry.gauge('g', { perProcess: true }).set(1)
        await registry.close()
      })`
    const env = { ...process.env, ZIBRATO_AGGREGATOR: aggregator.address }
    const threads = [1, 2, 3].map(() => new Worker(code, { eval: true, env }))
    const codes = await Promise.all(threads.map((thread) => new Promise((ended) => thread.once('exit', ended))))
    expect(codes).toEqual([0, 0, 0])
    const { t, g } = aggregator.getStats<{ t: object; g: { series: { tags: { process: string } }[] } }>()
    expect(t).toMatchObject({ count: 300, p50: 0.5, p99: 0.5 })
    expect(g.series.map(({ tags }) => tags.process).sort()).toEqual([
      expect.stringMatching(/^thread-\d+$/),
      expect.stringMatching(/^thread-\d+$/),
      expect.stringMatching(/^thread-\d+$/),
    ])
  })

  test('an aggregator takes the place of one that was killed, and gets what is kept', async () => {
    await using playground = new Playground()
    const address = addressIn(playground)
    const first = playground.node(
      `import { RegistryAggregator } from '${ENTRY}'
      const aggregator = await new RegistryAggregator({ address: '${address}' }).start()
      setInterval(() => console.log(JSON.stringify(aggregator.getStats())), 10)`,
    )
    await using registry = new DistributedRegistry({ address, flushInterval: '1h' })
    registry.counter('n').inc(3)
    const flushed = registry.flush()
    await first.output(({ stdout }) => (stdout.includes('{"n":{"value":3}}') ? true : undefined), 'the sum')
    await flushed
    expect(await first.stop('SIGKILL')).toBe('SIGKILL')
    expect(existsSync(join(playground.folder, 'm'))).toBe(true)
    registry.counter('n').inc(4)
    await using second = await new RegistryAggregator({ address }).start()
    await registry.flush()
    expect(second.getStats()).toMatchObject({ n: { value: 7 } })
  })
})

describe('an aggregator in a process of its own', { timeout: 2 * PATIENCE_MS }, () => {
  test('adds up, reports, and stops with a last report', async () => {
    await using playground = new Playground()
    const address = addressIn(playground)
    const report = join(playground.folder, 'report.json')
    const module = join(playground.folder, 'reporters.mjs')
    writeFileSync(
      module,
      `import { createWriteStream } from 'node:fs'
      import { StreamReporter } from '${pathToFileURL(join(DIST, 'client/reporters/index.js')).href}'
      export default () => new StreamReporter({ stream: createWriteStream(${JSON.stringify(report)}), interval: '1h' })`,
    )
    const aggregator = await new AggregatorProcess({ address, module, execArgv: [] }).start()
    await using registry = new DistributedRegistry({ address, flushInterval: '1h' })
    registry.counter('n').inc(3)
    await registry.flush()
    expect(await aggregator.getStats()).toEqual({ n: { value: 3 } })
    expect(await aggregator.figures()).toMatchObject({ merged: 1, connections: 1 })
    registry.counter('n').inc(4)
    await registry.close()
    await aggregator.close()
    await aggregator.close()
    expect(JSON.parse(readFileSync(report, 'utf8'))).toMatchObject({ n: { value: 7 } })
    expect(existsSync(join(playground.folder, 'm'))).toBe(false)
    await expect(aggregator.getStats()).rejects.toThrow(/it is not running/)
  })

  test('is started again when it dies, says so, and is told what was kept, once', async () => {
    await using playground = new Playground()
    const address = addressIn(playground)
    const warnings: Warning[] = []
    const onWarning = (warning: Warning): unknown => warnings.push(warning)
    await using aggregator = await new AggregatorProcess({ address, execArgv: [], onWarning }).start()
    await using registry = new DistributedRegistry({ address, flushInterval: '1h' })
    registry.counter('n').inc(3)
    await registry.flush()
    const pid = aggregator.pid as number
    process.kill(pid, 'SIGKILL')
    await until(() => aggregator.pid !== pid)
    registry.counter('n').inc(4)
    await registry.flush()
    // answered by the next one
    await until(async () => (await aggregator.getStats<{ n?: { value: number } }>()).n?.value === 7)
    expect(aggregator.pid).not.toBe(pid)
    expect(aggregator.restarts).toBe(1)
    expect(warnings).toEqual([
      {
        code: 'ZIBRATO_AGGREGATOR',
        message: 'aggregator: its process ended by SIGKILL; it is started again in 100 ms',
      },
    ])
    // what is sent to a whole group does not end it
    process.kill(aggregator.pid as number, 'SIGTERM')
    process.kill(aggregator.pid as number, 'SIGINT')
    registry.counter('n').inc()
    await registry.flush()
    expect(await aggregator.getStats()).toMatchObject({ n: { value: 8 } })
    expect(aggregator.restarts).toBe(1)
  })

  test('that dies leaves what it knew to the next, also of processes that are gone', async () => {
    await using playground = new Playground()
    const address = addressIn(playground)
    await using aggregator = await new AggregatorProcess({ address, execArgv: [] }).start()
    const gone = new DistributedRegistry({ address, flushInterval: '1h' })
    gone.counter('n').inc(3)
    gone.timer('t').record(0.5)
    await gone.close()
    await using registry = new DistributedRegistry({ address, flushInterval: '1h' })
    registry.counter('n').inc(4)
    await registry.flush()
    await until(() => aggregator.checkpointBytes > 0)
    const held = aggregator.checkpointBytes
    registry.counter('more').inc(5)
    await registry.flush()
    await until(() => aggregator.checkpointBytes > held)
    const pid = aggregator.pid as number
    process.kill(pid, 'SIGKILL')
    await until(() => aggregator.pid !== pid)
    registry.counter('n').inc(10)
    await registry.flush()
    // those that the one before had are handed in again, and told apart
    await until(async () => (await aggregator.figures()).replays >= 2)
    expect(await aggregator.getStats()).toMatchObject({
      n: { value: 17 },
      t: { count: 1, p50: 0.5 },
      more: { value: 5 },
    })
  })

  test('ends with the process that started it, and keeps that not alive', async () => {
    await using playground = new Playground()
    const starter = playground.node(
      `import { AggregatorProcess } from '${ENTRY}'
      const aggregator = await new AggregatorProcess({ address: '${addressIn(playground)}', execArgv: [] }).start()
      await aggregator.getStats()
      console.log(JSON.stringify({ pid: aggregator.pid }))`,
    )
    const pid = await starter.output(({ stdout }) => /"pid":(\d+)/.exec(stdout)?.[1], 'the pid')
    expect(await starter.ended).toBe(0)
    await until(() => !isRunning(pid))
    expect(existsSync(join(playground.folder, 'm'))).toBe(false)
  })

  test('ends with the process that started it, when that is killed', async () => {
    await using playground = new Playground()
    const starter = playground.node(
      `import { AggregatorProcess } from '${ENTRY}'
      const aggregator = await new AggregatorProcess({ address: '${addressIn(playground)}', execArgv: [] }).start()
      console.log(JSON.stringify({ pid: aggregator.pid }))
      setInterval(() => {}, 1000)`,
    )
    const pid = await starter.output(({ stdout }) => /"pid":(\d+)/.exec(stdout)?.[1], 'the pid')
    expect(await starter.stop('SIGKILL')).toBe('SIGKILL')
    await until(() => !isRunning(pid))
    expect(existsSync(join(playground.folder, 'm'))).toBe(false)
  })

  test('is refused with the reason when it cannot begin', async () => {
    await using playground = new Playground()
    const address = addressIn(playground)
    await using _ = await new RegistryAggregator({ address }).start()
    const start = (options: object): Promise<unknown> =>
      new AggregatorProcess({ address, execArgv: [], ...options }).start().catch((cause: unknown) => cause)
    expect(() => new AggregatorProcess({ address, window: 0 })).toThrow(/holds nothing/)
    expect(await start({})).toMatchObject({
      code: 'ERR_LISTEN',
      message: expect.stringMatching(/a process listens there/),
    })
    const missing = await start({ module: join(playground.folder, 'missing.mjs') })
    expect(missing).toMatchObject({
      code: 'ERR_AGGREGATOR',
      message: expect.stringMatching(/the module .*missing.mjs failed/),
    })
    writeFileSync(join(playground.folder, 'odd.mjs'), 'export default 3')
    const odd = await start({ module: pathToFileURL(join(playground.folder, 'odd.mjs')) })
    expect(odd).toMatchObject({ message: expect.stringMatching(/its default export is neither a reporter/) })
    expect(await start({ execArgv: ['--no-such-flag'] })).toMatchObject({
      message: expect.stringMatching(/ended by exit code 9/),
    })
  })
})
