import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '../until.ts'

/** Another program that runs for some tests, in a directory of its own. */
export class PeerServer {
  readonly directory: string
  #child: ChildProcess | undefined
  #output = ''

  private constructor(directory: string) {
    this.directory = directory
  }

  static async make(): Promise<PeerServer> {
    return new PeerServer(await mkdtemp(join(tmpdir(), 'zibrato-')))
  }

  /** What it has printed so far. */
  get output(): string {
    return this.#output
  }

  /** Starts it and waits until it is ready, or says why it is not. */
  async start(command: string, options: readonly string[], isReady: () => boolean | Promise<boolean>): Promise<void> {
    const child = spawn(command, options, { cwd: this.directory, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data: Buffer) => (this.#output += data.toString('utf8')))
    }
    const failure = once(child, 'exit').then(([code]) => {
      throw new Error(`${command} ended with ${code}: ${this.#output.slice(-1000)}`)
    })
    // it ends some time
    failure.catch(() => {})
    await Promise.race([until(isReady, `${command} is ready`, 60_000), failure])
  }

  async stop(): Promise<void> {
    if (this.#child !== undefined && this.#child.exitCode === null) {
      const closed = once(this.#child, 'close')
      this.#child.kill('SIGKILL')
      await closed
    }
    await rm(this.directory, { recursive: true, force: true })
  }
}
