import { writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { Playground, type Program } from '../flow/processes.ts'
import { until } from '../until.ts'
import { logged, logs, start, zibrato } from './cli.ts'

const QUICK = ['--port', '0', '--http', '0'] as const

/** Posts one counter to a gateway. */
async function count(http: string | undefined, name: string, value: number): Promise<number> {
  const response = await fetch(`${http}/v1/metrics`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify([{ type: 'counter', name, value }]),
  })
  return response.status
}

function lastLine({ stderr }: Program): string | undefined {
  return stderr.trimEnd().split('\n').at(-1)
}

describe('a signal', () => {
  test.each(['SIGTERM', 'SIGINT', 'SIGQUIT'] as const)(
    '%s ends up with everything delivered and code 0',
    async (signal) => {
      await using ground = new Playground()
      const { program, listening } = await ground.zibrato('up', ...QUICK, '--flush', '1h', '--to', 'file:out.jsonl')
      expect(await count(listening.http, 'orders', 5)).toBe(202)
      expect(await program.stop(signal)).toBe(0)
      expect(ground.sums('out.jsonl')).toEqual(new Map([['orders', 5]]))
      expect(logs(program).map(({ msg }) => msg)).toEqual(['listening', 'stopping', 'stopped'])
      // and the port, the state and its lock are free again
      const again = await ground.zibrato('up', ...QUICK, '--flush', '1h', '--to', 'file:out.jsonl')
      expect(await again.program.stop(signal)).toBe(0)
      expect(ground.sums('out.jsonl')).toEqual(new Map([['orders', 5]]))
    },
  )

  test('ends broker, gateway and worker, each with code 0', async () => {
    await using ground = new Playground()
    const broker = await ground.zibrato('broker', '--port', '0', '--grace', '0ms')
    const url = broker.listening.broker?.publishers as string
    const worker = await ground.zibrato('worker', '--broker', url, '--to', 'file:out.jsonl', '--flush', '1h')
    const gateway = await ground.zibrato('gateway', '--broker', url, '--http', '0')
    expect(await count(gateway.listening.http, 'orders', 3)).toBe(202)
    expect(await gateway.program.stop()).toBe(0)
    expect(await worker.program.stop()).toBe(0)
    expect(await broker.program.stop()).toBe(0)
    expect(ground.sums('out.jsonl')).toEqual(new Map([['orders', 3]]))
  })

  test('to everything at once loses nothing', async () => {
    await using ground = new Playground()
    const broker = await ground.zibrato('broker', '--port', '0')
    const url = broker.listening.broker?.publishers as string
    const worker = await ground.zibrato('worker', '--broker', url, '--to', 'file:out.jsonl', '--flush', '1h')
    const gateway = await ground.zibrato('gateway', '--broker', url, '--http', '0')
    await until(async () => (await fetch(`${gateway.listening.http}/readyz`)).status === 200)
    for (let index = 0; index < 20; index++) expect(await count(gateway.listening.http, `c${index % 7}`, 1)).toBe(202)
    const codes = await Promise.all([broker, worker, gateway].map(({ program }) => program.stop()))
    expect(codes).toEqual([0, 0, 0])
    expect([...ground.sums('out.jsonl').values()].reduce((sum, value) => sum + value, 0)).toBe(20)
  })

  test('makes a broker go on forwarding while publishers are connected, for its grace', async () => {
    await using ground = new Playground()
    const { program, listening } = await ground.zibrato('broker', '--port', '0', '--grace', '20s')
    const url = listening.broker?.publishers as string
    const gateway = await ground.zibrato('gateway', '--broker', url, '--http', '0')
    const worker = await ground.zibrato('worker', '--broker', url, '--to', 'file:out.jsonl', '--flush', '100ms')
    await until(async () => (await fetch(`${gateway.listening.http}/readyz`)).status === 200)
    program.child.kill('SIGTERM')
    await logged(program, 'stopping')
    expect(await count(gateway.listening.http, 'late', 1)).toBe(202)
    await until(() => ground.sums('out.jsonl').get('late') === 1)
    expect(await gateway.program.stop()).toBe(0)
    expect(await program.ended).toBe(0)
    expect(await worker.program.stop()).toBe(0)
  })

  test('is obeyed though a backend hangs, whose windows the state keeps', async () => {
    await using ground = new Playground()
    writeFileSync(join(ground.folder, 'hang.mjs'), HANGING)
    const args = ['up', ...QUICK, '--flush', '100ms', '--stop-timeout', '300ms', '--to', 'module:./hang.mjs']
    const { program, listening } = await ground.zibrato(...args)
    expect(await count(listening.http, 'orders', 5)).toBe(202)
    await program.output(({ stdout }) => (stdout.includes('hanging') ? true : undefined), 'a flush')
    expect(await program.stop()).toBe(0)
  })

  test('leaves a worker telling its figures until it has stopped', async () => {
    await using ground = new Playground()
    writeFileSync(join(ground.folder, 'hang.mjs'), HANGING)
    const broker = await ground.zibrato('broker', '--port', '0', '--grace', '0ms')
    const url = broker.listening.broker?.publishers as string
    const args = ['--to', 'module:./hang.mjs', '--flush', '100ms', '--stop-timeout', '1s', '--http', '0']
    const { program, listening } = await ground.zibrato('worker', '--broker', url, ...args)
    const gateway = await ground.zibrato('gateway', '--broker', url, '--http', '0')
    expect(await count(gateway.listening.http, 'orders', 5)).toBe(202)
    await program.output(({ stdout }) => (stdout.includes('hanging') ? true : undefined), 'a flush')
    program.child.kill('SIGTERM')
    await logged(program, 'stopping')
    const ready = await fetch(`${listening.http}/readyz`)
    expect(ready.status).toBe(503)
    expect(await ready.text()).toContain('the worker is stopping')
    expect(await (await fetch(`${listening.http}/metrics`)).text()).toMatch(/^zibrato_worker_shards 32$/m)
    expect(await program.ended).toBe(0)
    await expect(fetch(`${listening.http}/metrics`)).rejects.toThrow('fetch failed')
  })

  test('is obeyed while a backend still connects', async () => {
    await using ground = new Playground()
    writeFileSync(join(ground.folder, 'hang.mjs'), HANGING.replace('flush', 'async flush() {}\n  connect'))
    const program = ground.cli('up', ...QUICK, '--stop-timeout', '100ms', '--to', 'module:./hang.mjs')
    await program.output(({ stdout }) => (stdout.includes('hanging') ? true : undefined), 'connecting')
    expect(await program.stop()).toBe(0)
    expect(logs(program).map(({ msg }) => msg)).not.toContain('listening')
  })

  test('ends at once with code 1 when it comes a second time', async () => {
    await using ground = new Playground()
    writeFileSync(join(ground.folder, 'hang.mjs'), HANGING)
    const { program, listening } = await ground.zibrato(
      'up',
      ...QUICK,
      '--flush',
      '100ms',
      '--stop-timeout',
      '1h',
      '--to',
      'module:./hang.mjs',
    )
    expect(await count(listening.http, 'orders', 5)).toBe(202)
    await program.output(({ stdout }) => (stdout.includes('hanging') ? true : undefined), 'a flush')
    program.child.kill('SIGINT')
    await logged(program, 'stopping')
    // one that follows on its heels is the same: npm hands on what the terminal has sent already
    program.child.kill('SIGINT')
    const resend = setInterval(() => program.child.kill('SIGTERM'), 50)
    expect(await program.ended).toBe(1)
    clearInterval(resend)
    expect(lastLine(program)).toContain('told twice, exiting at once')
    const lines = logs(program)
    const [first, last] = [lines.find(({ msg }) => msg === 'stopping'), lines.at(-1)].map((line) =>
      Date.parse(String(line?.['time'])),
    )
    expect((last as number) - (first as number)).toBeGreaterThanOrEqual(250)
  })
})

const HANGING = `export default class {
  name = 'hanging'
  flush() {
    process.stdout.write('hanging\\n')
    return new Promise(() => {})
  }
  close() {
    return new Promise(() => {})
  }
}`

describe('a failure', () => {
  test('to listen is one line and code 1, with nothing left behind', async () => {
    await using ground = new Playground()
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const busy = String(port)
    const tries = [
      { args: ['up', '--port', busy, '--http', '0'], component: 'broker', flag: '--port' },
      { args: ['up', '--port', '0', '--http', busy], component: 'gateway', flag: '--http' },
      { args: ['gateway', '--http', busy, '--stop-timeout', '0'], component: 'gateway', flag: '--http' },
      { args: ['gateway', '--http', '0', '--tcp', busy, '--stop-timeout', '0'], component: 'tcp', flag: '--tcp' },
      { args: ['broker', '--port', busy], component: 'broker', flag: '--port' },
      { args: ['broker', '--port', '0', '--http', busy], component: 'broker', flag: '--http' },
      { args: ['worker', '--http', busy], component: 'worker', flag: '--http' },
    ]
    for (const { args, component, flag } of tries) {
      expect(await zibrato(ground, [...args, '--log-level', 'error'])).toEqual({
        code: 1,
        stdout: '',
        stderr:
          `zibrato: ${component}: cannot listen on 127.0.0.1:${busy}: port ${busy} is taken; ` +
          `stop whoever holds it or choose another with ${flag}\n`,
      })
    }
    other.close()
  })

  test('of a module that throws from nowhere ends it in order, with code 1', async () => {
    await using ground = new Playground()
    const broken = `export default class {
      name = 'broken'
      async flush() {}
      receive() { setImmediate(() => { throw new Error('out of the blue') }) }
    }`
    writeFileSync(join(ground.folder, 'broken.mjs'), broken)
    const program = start(ground, [
      'up',
      ...QUICK,
      '--flush',
      '1h',
      '--to',
      'file:out.jsonl',
      '--to',
      'module:./broken.mjs',
    ])
    const { http } = (await logged(program, 'listening')) as { http: string }
    expect(await count(http, 'orders', 5)).toBe(202)
    expect(await program.ended).toBe(1)
    expect(logs(program).find(({ msg }) => msg === 'failed, stopping')).toMatchObject({ error: 'out of the blue' })
    expect(ground.sums('out.jsonl')).toEqual(new Map([['orders', 5]]))
  })
})
