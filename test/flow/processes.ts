import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '../..')
/** Where the built package is; `npm test` builds it before. */
export const DIST: string = resolve(ROOT, process.env['ZIBRATO_TEST_DIST'] ?? 'dist')

/** Where {@link Playground.up} writes to. */
export const OUT = 'out.jsonl'
const UP = ['up', '--port', '0', '--http', '0', '--flush', '1', '--to', `file:${OUT}`] as const

/** The log line that says where a process listens. */
export interface Listening {
  readonly broker?: { readonly publishers: string; readonly subscribers: string }
  readonly http?: string
  readonly udp?: string
  readonly tcp?: string
  readonly unix?: string
  readonly 'unix-datagram'?: string
}

/** `zibrato up`, and where it takes what is counted. */
export interface Up {
  readonly program: Program
  readonly listening: Listening
  /** Of its gateway. */
  readonly http: string
  /** For publishers. */
  readonly broker: string
}

/** A real child process, with what it wrote. */
export class Program {
  readonly child: ChildProcess
  stdout = ''
  stderr = ''
  readonly ended: Promise<number | NodeJS.Signals>

  constructor(command: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = {}) {
    // several run at once, and only one of them could have the port that `up` and `gateway` take by default
    const variables = { ...process.env, ZIBRATO_UDP: '0', ...env }
    this.child = spawn(command, args, { cwd, env: variables, stdio: ['pipe', 'pipe', 'pipe'] })
    this.child.stdout?.on('data', (chunk: Buffer) => (this.stdout += chunk.toString()))
    this.child.stderr?.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()))
    this.ended = new Promise((done) => {
      this.child.once('close', (code, signal) => done(code ?? signal ?? -1))
    })
  }

  get pid(): number {
    return this.child.pid as number
  }

  /** Resolves with what `find` answers once it answers something; rejects when the program ends before. */
  async output<Found>(find: (program: this) => Found | undefined, what: string, timeoutMs = 30_000): Promise<Found> {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const found = find(this)
      if (found !== undefined) return found
      if (this.child.exitCode !== null || this.child.signalCode !== null || performance.now() > deadline) {
        throw new Error(`${what} never came from ${this.child.spawnargs.join(' ')}:\n${this.stdout}\n${this.stderr}`)
      }
      await new Promise((wait) => setTimeout(wait, 5))
    }
  }

  /** Sends a signal and waits for the end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals> {
    this.child.kill(signal)
    return this.ended
  }
}

/** A folder of its own and the processes started in it; dispose of it and both are gone. */
export class Playground implements AsyncDisposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'zibrato-flow-'))
  readonly #programs: Program[] = []

  /** `zibrato <args>`, once it listens. */
  async zibrato(...args: string[]): Promise<{ program: Program; listening: Listening }> {
    const program = this.cli(...args)
    const listening = await program.output(
      ({ stderr }) => {
        const line = stderr.split('\n').find((each) => each.includes('"msg":"listening"') && each.endsWith('}'))
        return line === undefined ? undefined : (JSON.parse(line) as Listening)
      },
      'the line "listening"',
      60_000,
    )
    return { program, listening }
  }

  /** `zibrato up` at free ports, once it listens: each second it writes {@link OUT}, unless `args` say otherwise. */
  async up(...args: string[]): Promise<Up> {
    const { program, listening } = await this.zibrato(...UP, ...args)
    return { program, listening, http: listening.http as string, broker: listening.broker?.publishers as string }
  }

  /** `zibrato <args>`, just started. */
  cli(...args: string[]): Program {
    return this.start(process.execPath, [join(DIST, 'bin/zibrato.js'), ...args])
  }

  /** A program of its own that imports the built package from `dist/`; `DIST` in it is replaced. */
  node(source: string, env: NodeJS.ProcessEnv = {}): Program {
    return this.start(process.execPath, ['--input-type=module', '-e', source.replaceAll('DIST', DIST)], env)
  }

  start(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
    const program = new Program(command, args, this.folder, env)
    this.#programs.push(program)
    return program
  }

  /** Rollups in a file that a `file:` backend writes; complete lines only. */
  rollups(file: string = OUT): Rollup[] {
    const path = join(this.folder, file)
    if (!existsSync(path)) return []
    const text = readFileSync(path, 'utf8')
    return text
      .slice(0, text.lastIndexOf('\n') + 1)
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Rollup)
  }

  /** Sums by name, over every window and series. */
  sums(file: string = OUT): Map<string, number> {
    const sums = new Map<string, number>()
    for (const { name, value, count } of this.rollups(file))
      sums.set(name, (sums.get(name) ?? 0) + (value ?? count ?? 0))
    return sums
  }

  /** What the series of a name add up to, of one source or of all. */
  sum(name: string, source?: string): number {
    return this.rollups()
      .filter((each) => each.name === name && (source === undefined || each.source === source))
      .reduce((sum, { value, count }) => sum + (value ?? count ?? 0), 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const program of this.#programs) program.child.kill('SIGKILL')
    await Promise.all(this.#programs.map(({ ended }) => ended))
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** A line of a `file:` backend. */
export interface Rollup {
  readonly time: number
  readonly interval: number
  readonly type: string
  readonly name: string
  readonly source: string
  readonly tags: Record<string, string>
  readonly value?: number
  readonly count?: number
  readonly total?: number
  readonly sum?: number
  readonly [percentile: `p${number}`]: number
}
