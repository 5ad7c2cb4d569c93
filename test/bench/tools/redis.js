import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'

/** A redis-server of a benchmark's own, which ends with this process. It saves nothing unless `args` say so. */
export async function startRedis(/** @type {string[]} */ ...args) {
  const directory = mkdtempSync(join(tmpdir(), 'zibrato-bench-'))
  const port = await freePort()
  const base = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', '']
  const child = spawn('redis-server', [...base, '--maxmemory-policy', 'noeviction', ...args], { stdio: 'ignore' })
  const ended = new Promise((resolve, reject) => {
    child.once('exit', resolve)
    child.once('error', (cause) => reject(new Error('bench: needs redis-server; install it', { cause })))
  })
  process.on('exit', () => {
    child.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  })
  const client = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 20, maxRetriesPerRequest: null })
  client.on('error', () => {})
  await Promise.race([client.ping(), ended.then((code) => Promise.reject(new Error(`bench: redis-server: ${code}`)))])
  return {
    url: `redis://127.0.0.1:${port}`,
    client,
    /** What it did since it started. */
    figures: async () => {
      const info = await infoOf(client)
      return {
        // those in scripts included
        commands: Number(info.total_commands_processed),
        scripts: Number(/calls=(\d+)/.exec(info.cmdstat_evalsha ?? '')?.[1] ?? 0),
        received: Number(info.total_net_input_bytes),
        sent: Number(info.total_net_output_bytes),
        memory: Number(info.used_memory),
        /** Seconds. */
        cpu: Number(info.used_cpu_user) + Number(info.used_cpu_sys),
      }
    },
    stop: async () => {
      client.disconnect()
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** @param {Redis} client @returns {Promise<Record<string, string>>} */
async function infoOf(client) {
  const text = await client.info('everything')
  return Object.fromEntries(
    text
      .split('\r\n')
      .filter((line) => line.includes(':'))
      .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  )
}

/** A port that nobody listens on now. */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  server.close()
  await once(server, 'close')
  return port
}
