import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { until } from './until.ts'

/** A redis-server of a test's own, on a port of its own, in a directory of its own. */
export class RedisServer {
  readonly port: number
  readonly directory: string
  readonly #args: readonly string[]
  #child: ChildProcess | undefined

  private constructor(port: number, directory: string, args: readonly string[]) {
    this.port = port
    this.directory = directory
    this.#args = args
  }

  /** @param args of redis-server, behind port and directory; nothing is saved unless they say so */
  static async start(...args: string[]): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), await mkdtemp(join(tmpdir(), 'zibrato-redis-')), args)
    await server.start()
    return server
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  /** Starts it, after {@link kill} or {@link stop} with the data that it saved. */
  async start(): Promise<void> {
    const base = [
      '--port',
      this.port,
      '--bind',
      '127.0.0.1',
      '--dir',
      this.directory,
      '--save',
      '',
      '--daemonize',
      'no',
    ]
    const child = spawn(binary(), [...base.map(String), ...this.#args], { stdio: 'ignore' })
    this.#child = child
    let ended = false
    child.once('exit', () => (ended = true))
    await until(() => {
      if (ended) throw new Error(`redis-server on port ${this.port} ended at once`)
      return isAnswering(this.port)
    }, 'redis-server answers')
  }

  /** Sends a signal, such as SIGSTOP. */
  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  async kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }

  /** Kills it and removes what it saved. */
  async stop(): Promise<void> {
    await this.kill()
    await rm(this.directory, { recursive: true, force: true })
  }
}

async function isAnswering(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    socket.write('PING\r\n')
    const [answer] = (await once(socket, 'data')) as [Buffer]
    // one that loads its data or wants a password answers otherwise
    return String(answer).startsWith('+PONG') || String(answer).startsWith('-NOAUTH')
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

let found: string | undefined

function binary(): string {
  return (found ??= findBinary())
}

/** Where it is missing it is installed, where that can be done. */
function findBinary(): string {
  if (isThere()) return 'redis-server'
  try {
    execFileSync('sh', ['-c', 'apt-get update -q && apt-get install -qy --no-install-recommends redis-server'], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
      stdio: 'ignore',
    })
  } catch {
    // said below
  }
  if (isThere()) return 'redis-server'
  throw new Error('tests need redis-server: install it, for example with "sudo apt-get install redis-server"')
}

function isThere(): boolean {
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
