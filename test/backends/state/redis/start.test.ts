import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { JOIN } from '../../../../backends/state/redis/membership-scripts.ts'
import type { SharedState } from '../../../../backends/state/shared.ts'
import { openState } from '../../../../backends/state/open.ts'
import type { State } from '../../../../backends/state/state.ts'
import { UsageError } from '../../../../client/errors.ts'
import { makeCertificate } from '../../../certificate.ts'
import { freePort } from '../../../free-port.ts'
import { RedisServer } from '../../../redis-server.ts'
import { until } from '../../../until.ts'
import { ask } from './client.ts'

const SETTINGS = { group: 'g', backends: ['a'] }

const cleanup: (() => unknown)[] = []
afterEach(async () => {
  for (const each of cleanup.splice(0).toReversed()) await each()
})

async function start(...args: string[]): Promise<RedisServer> {
  const server = await RedisServer.start(...args)
  cleanup.push(() => server.stop())
  return server
}

function make(url: string, warnings: string[] = []): State {
  const state = openState(url, { onWarning: (message) => void warnings.push(message) })
  cleanup.push(() => state.close())
  return state
}

async function refusalOf(url: string): Promise<Error> {
  const failure = await make(url)
    .open(SETTINGS)
    .then(() => undefined)
    .catch((error: unknown) => error as Error)
  if (failure === undefined) throw new Error(`${url} was taken`)
  expect(failure.message).not.toMatch(/secret|\n/)
  return failure
}

describe('a Redis that is not there yet', () => {
  it('is waited for, with a warning that says why', async () => {
    const server = await start()
    await server.kill()
    const warnings: string[] = []
    const state = make(`redis://u:secret@127.0.0.1:${server.port}`, warnings)
    const opening = make(server.url, warnings).open(SETTINGS)
    await until(() => warnings.length > 0)
    expect(warnings).toEqual([
      `state redis://127.0.0.1:${server.port}: cannot be reached (connect ECONNREFUSED 127.0.0.1:${server.port}); ` +
        'start it, or correct host and port; it is waited for, up to 30 s',
    ])
    await server.start()
    await opening
    await state.close()
  })

  it('is given up after a while, which is no wrong usage: it may be there at the next start', async () => {
    const port = await freePort()
    const failure = await refusalOf(`redis://u:secret@127.0.0.1:${port}?wait=0s`)
    expect(failure).not.toBeInstanceOf(UsageError)
    expect(failure.message).toContain(`state redis://127.0.0.1:${port}: `)
    const longer = await refusalOf(`redis://u:secret@127.0.0.1:${port}?wait=300ms`)
    expect(longer.message).toMatch(/cannot be reached .*ECONNREFUSED.*start it/)
  })

  it('does not keep a state from being closed', async () => {
    const warnings: string[] = []
    const state = make(`redis://127.0.0.1:${await freePort()}`, warnings)
    const opening = state.open(SETTINGS).catch((error: unknown) => (error as Error).message)
    await until(() => warnings.length > 0)
    await state.close()
    expect(await opening).toMatch(/closed/)
  })

  it('is waited for while it loads its data', async () => {
    const server = await start(
      '--appendonly',
      'yes',
      '--key-load-delay',
      '200',
      '--loading-process-events-interval-bytes',
      '1024',
    )
    for (let key = 0; key < 20; key++) await ask(server.port, 'SET', `k${key}`, 'x'.repeat(1000))
    await server.kill()
    const state = make(server.url)
    const [, opened] = await Promise.all([server.start(), state.open(SETTINGS)])
    expect(opened).toBeUndefined()
    expect(await state.now()).toBeGreaterThan(0)
  })
})

describe('a Redis that goes while a worker starts', () => {
  it('is waited for as one that is not there yet, at each of the questions that it is asked', async () => {
    const server = await start()
    // breaks the connection in place of the first answers to each of these
    const broken = new Map([
      ['info', 3],
      [JOIN.sha, 2],
    ])
    const proxy = createServer((socket) => {
      const upstream = connect(server.port, '127.0.0.1')
      socket.on('data', (data) => {
        const [found] = [...broken].filter(([part, times]) => times > 0 && data.includes(part))
        if (found === undefined) upstream.write(data)
        else {
          broken.set(found[0], found[1] - 1)
          socket.destroy()
        }
      })
      upstream.on('data', (data) => socket.write(data))
      socket.on('close', () => upstream.end())
      for (const each of [socket, upstream]) each.on('error', () => {})
    }).listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    cleanup.push(() => proxy.close())
    const warnings: string[] = []
    const state = make(`redis://127.0.0.1:${(proxy.address() as { port: number }).port}`, warnings) as SharedState
    await state.open(SETTINGS)
    expect([...broken.values()]).toEqual([0, 0])
    expect(warnings.length).toBeGreaterThan(0)
    for (const warning of warnings) expect(warning).toMatch(/^state redis:.*; it is waited for, up to 30 s$/)
    expect(await state.beat()).toEqual([state.id])
  })
})

describe('a Redis that will not do is refused at once, with the way out', () => {
  it.each([
    ['that wants a password', ['--requirepass', 'other'], '', /wants a password .*NOAUTH.*write redis:\/\/\$USER/],
    ['with another password', ['--requirepass', 'other'], 'u:secret@', /refuses user and password.*; correct them/],
    [
      'that forbids',
      ['--user', 'u', 'on', '>secret', '~other:*', '+@all'],
      'u:secret@',
      /does not let its user .*backends\/state\/README/,
    ],
    ['without that database', ['--databases', '4'], '', /no database of that number/, '/4'],
    [
      'that evicts',
      ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'],
      '',
      /maxmemory-policy allkeys-lru.*set maxmemory-policy noeviction/,
    ],
    ['that is part of a Cluster', ['--cluster-enabled', 'yes'], '', /is a node of a Cluster; write redis\+cluster/],
    ['that is a replica', ['--replicaof', '127.0.0.1', '1'], '', /read-only replica; name its master/],
  ])('one %s', async (_, args, credentials, reason, path = '') => {
    const server = await start(...args)
    const failure = await refusalOf(`redis://${credentials}127.0.0.1:${server.port}${path}`)
    expect(failure.message).toMatch(reason)
    expect(failure).toBeInstanceOf(UsageError)
  })

  it('one that is too old, naming both versions', async () => {
    const old = createServer((socket) => {
      socket.on('data', (data) => {
        for (const command of String(data).match(/^(info|client|select)/gim) ?? []) {
          const info = '# Server\r\nredis_version:6.0.16\r\nrole:master\r\n'
          socket.write(/info/i.test(command) ? `$${info.length}\r\n${info}\r\n` : '+OK\r\n')
        }
      })
      socket.on('error', () => {})
    }).listen(0, '127.0.0.1')
    await once(old, 'listening')
    cleanup.push(() => old.close())
    const { port } = old.address() as { port: number }
    expect((await refusalOf(`redis://127.0.0.1:${port}`)).message).toBe(
      `state redis://127.0.0.1:${port}: is Redis 6.0.16, and 6.2 is the oldest that will do; upgrade it`,
    )
  })

  it('one of another kind than its URL says', async () => {
    const server = await start()
    const cluster = await refusalOf(`redis+cluster://127.0.0.1:${server.port}`)
    expect(cluster.message).toMatch(/is no Cluster .*; write redis:\/\/host/)
    const sentinel = await refusalOf(`redis+sentinel://127.0.0.1:${server.port}/main`)
    expect(sentinel.message).toMatch(/is no Sentinel .*26379/)
    for (const failure of [cluster, sentinel]) expect(failure).toBeInstanceOf(UsageError)
  })

  it('but not for its eviction policy while it has no bound', async () => {
    const server = await start('--maxmemory', '0', '--maxmemory-policy', 'allkeys-lru')
    await expect(make(server.url).open(SETTINGS)).resolves.toBeUndefined()
  })
})

describe('TLS', () => {
  let directory: string
  let server: RedisServer
  let port: number

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'zibrato-tls-'))
    const { cert, key } = makeCertificate(directory)
    port = await freePort()
    server = await RedisServer.start(
      '--tls-port',
      String(port),
      '--tls-cert-file',
      cert,
      '--tls-key-file',
      key,
      '--tls-ca-cert-file',
      cert,
    )
  })

  afterAll(async () => {
    await server.stop()
    await rm(directory, { recursive: true })
  })

  it.each([
    ['a certificate that nobody vouches for', (own: number) => `rediss://127.0.0.1:${own}`, /\?ca=FILE/],
    [
      'a server that wants a certificate',
      (own: number) => `rediss://127.0.0.1:${own}?ca=${directory}/server.crt&wait=2s`,
      /wants a client's certificate.*cert=FILE&key=FILE/,
    ],
    ['a port without it', () => `rediss://127.0.0.1:${server.port}?wait=2s`, /does not answer.*redis:\/\/ without/],
    ['no file', () => `rediss://127.0.0.1:${port}?ca=${directory}/none.crt`, /option ca names no file/],
    ['a port with it, without', () => `redis://127.0.0.1:${port}?wait=500ms`, /closed the connection.*TLS is rediss/],
  ])('is refused with the way out: %s', async (_, url, reason) => {
    expect((await refusalOf(url(port))).message).toMatch(reason)
  })

  it('takes a certificate authority that the environment of Node names', async () => {
    const script = `
      import { openState } from ${JSON.stringify(new URL('../../../../backends/state/open.ts', import.meta.url).href)}
      const state = openState('rediss://localhost:${port}?cert=${directory}/server.crt&key=${directory}/server.key')
      await state.open({ group: 'g', backends: [] })
      console.log(typeof (await state.now()))
      await state.close()`
    const output = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      env: { ...process.env, NODE_EXTRA_CA_CERTS: `${directory}/server.crt` },
      encoding: 'utf8',
    })
    expect(output.trim()).toBe('number')
  })
})
