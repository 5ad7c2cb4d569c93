import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe } from 'vitest'
import { makeCertificate } from '../../../certificate.ts'
import { stateContract } from '../../../contract/state.ts'
import { RedisCluster } from '../../../faults/redis-cluster.ts'
import { RedisFailover } from '../../../faults/redis-failover.ts'
import { freePort } from '../../../free-port.ts'
import { RedisServer } from '../../../redis-server.ts'
import { RULE } from './acl.ts'
import { redisSubject } from './subject.ts'

describe('by TCP', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await RedisServer.start()
  })
  afterAll(() => server.stop())
  stateContract(
    'a Redis',
    redisSubject(() => server.url),
  )
})

describe('by Unix socket, in another database, as a user who may do what the documentation says', () => {
  let server: RedisServer
  let directory: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'zibrato-redis-'))
    server = await RedisServer.start(
      '--unixsocket',
      join(directory, 'redis.sock'),
      '--requirepass',
      'other',
      '--user',
      ...`zibrato on >s:cr@t ~t* resetchannels ${RULE}`.split(' '),
    )
  })
  afterAll(async () => {
    await server.stop()
    await rm(directory, { recursive: true })
  })
  stateContract(
    'a Redis',
    redisSubject(() => `redis+unix://zibrato:s%3Acr%40t@${directory}/redis.sock?db=7`),
  )
})

describe('by TLS, with certificates on both sides', () => {
  let server: RedisServer
  let directory: string
  let port: number
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'zibrato-redis-'))
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
  stateContract(
    'a Redis',
    redisSubject(
      () =>
        `rediss://localhost:${port}?ca=${directory}/server.crt&cert=${directory}/server.crt&key=${directory}/server.key`,
    ),
  )
})

describe('found by a Sentinel, with a replica that is waited for', () => {
  let servers: RedisFailover
  beforeAll(async () => {
    servers = await RedisFailover.start()
  })
  afterAll(() => servers.stop())
  stateContract(
    'a Redis',
    redisSubject(() => `${servers.url}?replicas=1`),
  )
})

describe('of three nodes', () => {
  let cluster: RedisCluster
  beforeAll(async () => {
    cluster = await RedisCluster.start()
  })
  afterAll(() => cluster.stop())
  stateContract(
    'a Redis Cluster',
    redisSubject(() => cluster.url),
  )
})
