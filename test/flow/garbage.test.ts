import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { deflateSync, gzipSync } from 'node:zlib'
import { Publisher } from 'zeromq'
import { expect, it } from 'vitest'
import { until } from '../until.ts'
import { Playground } from './processes.ts'

// ten minutes by `ZIBRATO_LONG=1 npm test`
const SECONDS = process.env['ZIBRATO_LONG'] === undefined ? 30 : 600

const BODIES: readonly (() => [string, Uint8Array | string])[] = [
  () => ['application/json', randomBytes(500)],
  () => ['application/json', '{"measurements":'],
  () => ['application/json', '[1,null,"x",{}]'],
  () => ['application/json', JSON.stringify([{ type: 'counter', name: 'x'.repeat(300), value: 1 }])],
  () => ['application/json', '['.repeat(50_000)],
  () => ['application/vnd.zibrato.bundle', randomBytes(2_000)],
  () => ['application/vnd.zibrato.bundle', new Uint8Array(1_000).fill(0xff)],
  () => ['text/plain', 'hello'],
  () => ['application/json', 'x'.repeat(3_000_000)],
]

it(`keeps its memory and its counts through ${SECONDS} s of garbage`, { timeout: (SECONDS + 60) * 1000 }, async () => {
  await using ground = new Playground()
  const { program: up, http, broker } = await ground.up()
  const url = new URL('/v1/metrics', http)
  const publisher = new Publisher({ linger: 0 })
  publisher.connect(broker)
  let posted = 0
  // as it is after each round
  const resident: number[] = []

  const spew = async (until_: number): Promise<void> => {
    for (let round = 0; performance.now() < until_; round++) {
      const [type, body] = (BODIES[round % BODIES.length] as () => [string, Uint8Array | string])()
      const encoding = ['gzip', 'deflate', 'br', 'identity'][round % 4] as string
      const encoded = encoding === 'gzip' ? gzipSync(body) : encoding === 'deflate' ? deflateSync(body) : body
      const answer = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': type, ...(encoding === 'identity' ? {} : { 'content-encoding': encoding }) },
        body: encoded as Uint8Array<ArrayBuffer>,
      }).catch((error: Error) => error)
      // a body that is too large may be cut off before all of it was sent
      expect(answer instanceof Error ? 413 : answer.status).toSatisfy((status: number) => status >= 400 && status < 500)
      if (answer instanceof Response) await answer.arrayBuffer()
      for (const message of [
        [randomBytes(40)],
        [`#0a|info|`, randomBytes(200)],
        ['#zz|', 'x'],
        ['#0a|info|', 'x', 'y'],
        [''],
      ]) {
        await publisher.send(message)
      }
      // what is right among it all still counts
      const good = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '[{"type":"counter","name":"good","value":1},{"type":"nonsense","name":"bad","value":1}]',
      })
      expect(good.status).toBe(202)
      expect((await good.json()) as { accepted: number }).toMatchObject({ accepted: 1, rejected: [{ index: 1 }] })
      posted++
      resident.push(residentBytes(up.pid))
    }
  }

  // until heaps, pools and compiled code have their size
  await spew(performance.now() + 15_000)
  resident.length = 0
  await spew(performance.now() + SECONDS * 1_000)
  const before = median(resident.slice(0, resident.length / 5))
  const after = median(resident.slice((-resident.length / 5) | 0))
  publisher.close()
  await until(() => ground.sum('good') === posted, 'all good ones arrive')
  expect(await up.stop(), up.stderr).toBe(0)
  expect(ground.sum('good')).toBe(posted)
  expect(after / before, `${before} bytes resident became ${after}`).toBeLessThan(1.1)
})

function residentBytes(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1024
}

// garbage collection makes it go up and down all the time
function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[values.length >> 1] as number
}
