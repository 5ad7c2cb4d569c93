import { describe, expect, test } from 'vitest'
import { Playground } from '../flow/processes.ts'
import { until } from '../until.ts'
import { zibrato } from './cli.ts'

describe('prometheus: without a host', () => {
  test('is served by up at /prometheus of its HTTP port, as /metrics is without a token', async () => {
    await using ground = new Playground()
    const { listening } = await ground.zibrato(
      ...'up --port 0 --http 0 --udp off --flush 200ms --state memory: --token me=s3cret --to prometheus:'.split(' '),
    )
    const post = await fetch(`${listening.http}/v1/metrics`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer s3cret' },
      body: '[{"type":"counter","name":"web.orders","value":5}]',
    })
    expect(post.status).toBe(202)
    const scraped = async (): Promise<string> => (await fetch(`${listening.http}/prometheus`)).text()
    await until(async () => (await scraped()).includes('web_orders_total 5\n'), 'the counter is served')
    const refused = await fetch(`${listening.http}/prometheus`, { method: 'POST' })
    expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
    expect((await fetch(`${listening.http}/metrics`)).status).toBe(200)
  })

  test.each([
    ['worker', '', 'is served by `zibrato up` only; in a worker name where to listen: prometheus://127.0.0.1:9464'],
    ['up', '--http off', 'is served on the HTTP port; leave out --http off'],
    ['up', '--to prometheus:?known-as=b', 'another backend is served at /prometheus; give one of them a host and port'],
  ])('is wrong usage for %s %s', async (command, options, message) => {
    await using ground = new Playground()
    const args = [command, '--to', 'prometheus:', ...options.split(' ').filter((part) => part !== '')]
    const { code, stderr } = await zibrato(ground, args)
    expect(code).toBe(2)
    expect(stderr).toContain(message)
    expect(stderr.trim().split('\n')).toHaveLength(1)
  })
})

test('a worker serves prometheus:// on a port of its own, or says that it is taken', async () => {
  await using ground = new Playground()
  const first = await ground.zibrato(...'worker --to prometheus://127.0.0.1:0'.split(' '))
  expect(first.program.stderr).toContain('prometheus://127.0.0.1:0')
  const { code, stderr } = await zibrato(ground, ['worker', '--to', 'prometheus://0.0.0.0:9464'])
  expect(code).toBe(2)
  expect(stderr).toContain('would be open to others')
})
