import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { DIST, Playground } from '../flow/processes.ts'
import { until } from '../until.ts'
import { logged, start, zibrato } from './cli.ts'

const UP = ['up', '--port', '0', '--http', '0', '--flush', '100ms', '--to', 'file:out.jsonl'] as const

describe('zibrato send', () => {
  test('counts, times and gauges through a broker and through a gateway', async () => {
    await using ground = new Playground()
    const { program, listening } = await ground.zibrato(...UP)
    const broker = ['--broker', listening.broker?.publishers as string]
    const url = ['--url', listening.http as string]
    const tagged = ['--level', 'crit', '--source', 'web', '--tag', 'region=eu', '--tag', 'kind=a=b']
    for (const args of [
      ['counter', 'orders', '5', ...tagged, ...broker],
      ['counter', 'orders', '-2', ...tagged, ...url],
      ['timer', 'db', '12ms', ...broker],
      ['timer', 'job', '0.5', ...url],
      ['gauge', 'queue', '17', ...broker],
      ['set', 'users', '-', ...url],
      ['histogram', 'size', '1e3', ...broker],
      ['meter', 'events', ...url],
    ]) {
      expect(await zibrato(ground, ['send', ...args])).toEqual({ code: 0, stdout: '', stderr: '' })
    }
    expect(await program.stop()).toBe(0)
    const byName = new Map(ground.rollups('out.jsonl').map((rollup) => [rollup.name, rollup]))
    expect(ground.sums('out.jsonl').get('orders')).toBe(3)
    expect(byName.get('orders')).toMatchObject({
      type: 'counter',
      total: 3,
      source: 'web',
      tags: { region: 'eu', kind: 'a=b' },
    })
    expect(byName.get('db')).toMatchObject({ type: 'timer', count: 1, sum: 0.012 })
    expect(byName.get('job')).toMatchObject({ type: 'timer', sum: 0.5 })
    expect(byName.get('queue')).toMatchObject({ type: 'gauge', value: 17 })
    expect(byName.get('users')).toMatchObject({ type: 'set', value: 1 })
    expect(byName.get('size')).toMatchObject({ type: 'histogram', max: 1000 })
    expect(byName.get('events')).toMatchObject({ type: 'meter' })
    expect(ground.sums('out.jsonl').get('events')).toBe(1)
  })

  test('goes where the flag says, else where ZIBRATO_URL does, else to ZIBRATO_BROKER', async () => {
    await using ground = new Playground()
    const { program, listening } = await ground.zibrato(...UP)
    const [here, nowhere] = [listening.broker?.publishers as string, 'tcp://127.0.0.1:1']
    const send = ['send', 'counter', 'orders', '--timeout', '10s']
    for (const [args, env] of [
      [[], { ZIBRATO_URL: here, ZIBRATO_BROKER: nowhere }],
      [['--broker', here], { ZIBRATO_URL: nowhere, ZIBRATO_BROKER: nowhere }],
      [[], { ZIBRATO_BROKER: here }],
    ] as const) {
      expect(await zibrato(ground, [...send, ...args], { env })).toEqual({ code: 0, stdout: '', stderr: '' })
    }
    expect(await program.stop()).toBe(0)
    expect(ground.sums('out.jsonl').get('orders')).toBe(3)
  })

  test('takes lines of JSON, naming those that are no measurements', async () => {
    await using ground = new Playground()
    const { program, listening } = await ground.zibrato(...UP)
    const lines = Array.from({ length: 500 }, (_, index) => `{"type":"counter","name":"c${index % 100}","value":1}`)
    lines.splice(3, 0, 'nonsense', '', '{"type":"counter","name":"c1","value":"1"}')
    const args = ['send', '-', '--broker', listening.broker?.publishers as string]
    const { code, stderr } = await zibrato(ground, args, { input: lines.join('\n') })
    expect(code).toBe(1)
    expect(stderr.split('\n')).toEqual([
      expect.stringMatching(/^zibrato: send: line 4: is no JSON/),
      'zibrato: send: line 6: value must be a finite number',
      '',
    ])
    await program.stop()
    const sums = ground.sums('out.jsonl')
    expect([sums.size, ...new Set(sums.values())]).toEqual([100, 5])
  })

  test('fails with one line when there is no broker, or nobody subscribed, or only to another level', async () => {
    await using ground = new Playground()
    const free = createServer().listen(0, '127.0.0.1')
    await until(() => free.listening)
    const { port } = free.address() as AddressInfo
    await new Promise((resolve) => free.close(resolve))
    const send = ['send', 'counter', 'orders', '--timeout', '1s', '--broker']
    expect(await zibrato(ground, [...send, `tcp://127.0.0.1:${port}`])).toMatchObject({
      code: 1,
      stderr: `zibrato: send: no broker answers at tcp://127.0.0.1:${port}; start one with "zibrato up", or name it with --broker\n`,
    })
    const { listening } = await ground.zibrato('broker', '--port', '0')
    const broker = listening.broker?.publishers as string
    const nobody = `zibrato: send: nobody subscribes to level info at ${broker}; start "zibrato worker", or look at its --levels\n`
    expect(await zibrato(ground, [...send, broker])).toMatchObject({ code: 1, stderr: nobody })
    await ground.zibrato('worker', '--broker', broker, '--levels', 'crit')
    expect(await zibrato(ground, [...send, broker])).toMatchObject({ code: 1, stderr: nobody })
    expect(await zibrato(ground, [...send, broker, '--level', 'crit'])).toMatchObject({ code: 0, stderr: '' })
  })

  test('fails with one line when a gateway refuses it or is not there, and shows no token', async () => {
    await using ground = new Playground()
    const up = start(ground, [...UP, '--token', 'web=$WEB_TOKEN'], { WEB_TOKEN: 'the-s3cret' })
    const { http } = (await logged(up, 'listening')) as { http: string }
    const send = ['send', 'counter', 'orders', '--timeout', '1s', '--url']
    const refused = await zibrato(ground, [...send, http, '--token', 'wrong-s3cret'])
    expect([refused.code, refused.stderr.split('\n').length]).toEqual([1, 2])
    expect(refused.stderr).toMatch(
      /answered 401, dropped 1 of 1 frames: no valid token; send "Authorization: Bearer SECRET"; see --token\n$/,
    )
    expect(refused.stderr).not.toContain('wrong-s3cret')
    const env = { ZIBRATO_TOKEN: 'the-s3cret' }
    expect(await zibrato(ground, [...send, http], { env })).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(await up.stop()).toBe(0)
    const gone = await zibrato(ground, [...send, http], { env })
    expect([gone.code, gone.stderr.split('\n').length]).toEqual([1, 2])
    expect(gone.stderr).toContain(http)
    expect(gone.stderr).toMatch(/gave up after 1 s, see --url and --timeout\n$/)
    expect(up.stderr).not.toContain('s3cret')
  })
})

describe('zibrato tail', () => {
  test('prints what passes, picked by level and name, as lines and as JSON', async () => {
    await using ground = new Playground()
    const { program, listening } = await ground.zibrato(...UP)
    const broker = ['--broker', listening.broker?.publishers as string]
    const all = ground.cli('tail', ...broker)
    const some = ground.cli('tail', ...broker, '--json', '--levels', 'warn,crit', 'http.*', 'order?')
    const send = (type: string, name: string, value: string, level: string): Promise<unknown> =>
      zibrato(ground, ['send', type, name, value, '--level', level, '--tag', 'a=b', ...broker])
    // until both are heard, what passes passes them by
    await until(async () => {
      await send('counter', 'orders', '1', 'warn')
      return all.stdout.includes('orders') && some.stdout.includes('orders')
    })
    await send('timer', 'http.get', '12ms', 'crit')
    await send('counter', 'http.get', '2', 'info')
    await send('counter', 'other', '2', 'crit')
    await send('gauge', 'order\u001b[31ms', '4', 'crit')
    await send('counter', 'orders', '9', 'crit')
    await until(() => /orders.* 9$/m.test(all.stdout) && some.stdout.includes('"value":9'))
    expect(all.stdout).toMatch(/^\d\d:\d\d:\d\d\.\d{3}  crit   timer      http\.get +-  +a=b +12 ms$/m)
    expect(all.stdout).toMatch(/^\S+ +info +counter +http\.get +- +a=b +2$/m)
    expect(all.stdout).toContain('other')
    expect(all.stdout).toContain('order�[31ms')
    const objects = some.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(new Set(objects.map(({ name }) => name))).toEqual(new Set(['orders', 'http.get']))
    expect(objects.find(({ name }) => name === 'http.get')).toEqual({
      time: expect.closeTo(Date.now() / 1000, -2),
      level: 'crit',
      type: 'timer',
      name: 'http.get',
      source: 'not_specified',
      tags: { a: 'b' },
      value: 0.012,
      publisher: expect.stringMatching(/^[0-9a-f]{16}$/),
      seq: 1,
    })
    expect(await all.stop('SIGINT')).toBe(0)
    expect(await some.stop('SIGTERM')).toBe(0)
    expect([all.stderr, some.stderr]).toEqual(['', ''])
    expect(await program.stop()).toBe(0)
  })

  test('ends quietly when its reader has read enough', async () => {
    await using ground = new Playground()
    const { listening } = await ground.zibrato(...UP)
    const broker = listening.broker?.publishers as string
    const node = `${process.execPath} ${join(DIST, 'bin/zibrato.js')}`
    const piped = ground.start('sh', ['-c', `(${node} tail --broker ${broker}; echo "code $?" >&2) | head -n 1`])
    let ended = false
    void piped.ended.then(() => (ended = true))
    await until(async () => {
      await zibrato(ground, ['send', 'counter', 'orders', '--broker', broker])
      return ended
    })
    expect(piped.stdout).toMatch(/^[^\n]+orders[^\n]+\n$/)
    expect(piped.stderr).toBe('code 0\n')
  })

  test('says so when no broker answers, and goes on trying', async () => {
    await using ground = new Playground()
    const tail = ground.cli('tail', '--broker', 'tcp://127.0.0.1:1')
    await tail.output(({ stderr }) => (stderr.includes('\n') ? true : undefined), 'a hint')
    expect(tail.stderr).toBe(
      'zibrato: tail: no broker answers at tcp://127.0.0.1:1 yet; still trying, Ctrl-C gives up\n',
    )
    expect(await tail.stop('SIGINT')).toBe(0)
  })
})

describe('what a process says of itself', () => {
  test('health and figures of broker and worker are there when asked for', async () => {
    await using ground = new Playground()
    const broker = await ground.zibrato('broker', '--port', '0', '--http', '0')
    const url = broker.listening.broker?.publishers as string
    const worker = await ground.zibrato(
      'worker',
      '--broker',
      url,
      '--http',
      '0',
      '--to',
      'file:out.jsonl',
      '--flush',
      '100ms',
    )
    await until(async () => (await fetch(`${worker.listening.http}/readyz`)).status === 200)
    await zibrato(ground, ['send', 'counter', 'orders', '--broker', url])
    const figures = async (http: string | undefined): Promise<string> => (await fetch(`${http}/metrics`)).text()
    await until(async () =>
      (await figures(worker.listening.http)).includes(
        'zibrato_worker_backend_rollups_total{backend="file:out.jsonl"} 1',
      ),
    )
    expect(await figures(worker.listening.http)).toContain('zibrato_worker_frames_total{outcome="merged"} 1')
    expect(await figures(broker.listening.http)).toContain('zibrato_broker_frames_total{level="info"} 1')
    expect((await fetch(`${broker.listening.http}/healthz`)).status).toBe(200)
    expect((await fetch(`${broker.listening.http}/v1/metrics`, { method: 'POST' })).status).toBe(404)
    expect((await fetch(`${broker.listening.http}/metrics`, { method: 'POST' })).status).toBe(405)
    await broker.program.stop('SIGKILL')
    await until(async () => (await fetch(`${worker.listening.http}/readyz`)).status === 503)
    expect(worker.program.stderr).toContain('--state file:DIR keeps them')
  })

  test('everything has its figures at one address', async () => {
    await using ground = new Playground()
    const { listening } = await ground.zibrato(...UP)
    const text = await (await fetch(`${listening.http}/metrics`)).text()
    for (const part of [
      'zibrato_gateway_requests_total',
      'zibrato_gateway_frames_sent_total',
      'zibrato_broker_messages_total',
      'zibrato_worker_series',
    ]) {
      expect(text).toContain(`TYPE ${part} `)
    }
  })

  test('a secret on the command line does not stay in the list of processes, nor in a log', async () => {
    await using ground = new Playground()
    const { program } = await ground.zibrato(...UP, '--token', 'web=the-s3cret', '--log-level', 'debug')
    const listed = ground.start('ps', ['-o', 'args=', '-p', String(program.pid)])
    expect(await listed.ended).toBe(0)
    expect(listed.stdout.trim()).toBe('zibrato up')
    expect(program.stderr).not.toContain('s3cret')
  })
})

describe('with CURVE keys', () => {
  test('everything works for who has the public key, and nothing for others', async () => {
    await using ground = new Playground()
    const { curveKeyPair } = await import('zeromq')
    const { publicKey, secretKey } = curveKeyPair()
    writeFileSync(join(ground.folder, 'secret.key'), `${secretKey}\n`, { mode: 0o600 })
    writeFileSync(join(ground.folder, 'public.key'), publicKey)
    const { program, listening } = await ground.zibrato(...UP, '--curve-secret-key', 'secret.key')
    const broker = ['--broker', listening.broker?.publishers as string]
    const known = ['--curve-server-key', 'public.key', ...broker]
    const gateway = await ground.zibrato('gateway', '--http', '0', ...known)
    const tail = ground.cli('tail', ...known)
    await until(async () => (await fetch(`${gateway.listening.http}/readyz`)).status === 200)
    await until(async () => {
      const sent = await zibrato(ground, ['send', 'counter', 'orders', ...broker], {
        env: { ZIBRATO_CURVE_SERVER_KEY: '$KEY', KEY: publicKey },
      })
      expect(sent).toMatchObject({ code: 0, stderr: '' })
      return tail.stdout.includes('orders')
    })
    expect(await zibrato(ground, ['send', 'counter', 'orders', '--timeout', '500ms', ...broker])).toMatchObject({
      code: 1,
    })
    expect(program.stderr).not.toContain(secretKey)
  })
})

test('zibrato-broker is the broker of old: --host and --port', async () => {
  await using ground = new Playground()
  const program = start(ground, ['--host', '127.0.0.1', '--port', '0'], {}, 'zibrato-broker')
  const { broker } = (await logged(program, 'listening')) as { broker: { publishers: string } }
  await ground.zibrato('worker', '--broker', broker.publishers, '--to', 'file:out.jsonl', '--flush', '100ms')
  expect(await zibrato(ground, ['send', 'counter', 'orders', '--broker', broker.publishers])).toMatchObject({ code: 0 })
  await until(() => ground.sums('out.jsonl').get('orders') === 1)
  expect(await program.stop()).toBe(0)
  expect(await zibrato(ground, ['--port', 'x'], { bin: 'zibrato-broker' })).toMatchObject({
    code: 2,
    stderr: 'zibrato-broker: --port: "x" is no port; give a number in 1..65534, or 0 for a free one\n',
  })
})
