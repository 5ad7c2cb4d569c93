import { join } from 'node:path'
import type { Playground, Program } from '../flow/processes.ts'
import { until } from '../until.ts'

/** Debian's, which finds Debian's packages; another one may come first in the path. */
export const PYTHON = '/usr/bin/python3'
export const PROGRAM: string = join(import.meta.dirname, 'zibrato02.py')

export interface Command {
  readonly times?: number
  readonly level?: string
  readonly mtype?: string
  readonly name?: string
  readonly value?: string | number
  readonly source?: string
}

/** A Python program that publishes what it is told to. */
export class PythonPublisher {
  readonly #program: Program
  #told = 0

  constructor(ground: Playground, port: number) {
    this.#program = ground.start(PYTHON, [PROGRAM, 'publish', String(port)])
  }

  /** Resolves once ZeroMQ has it. */
  async publish(command: Command): Promise<void> {
    this.#told++
    this.#program.child.stdin?.write(`${JSON.stringify(command)}\n`)
    await this.#program.output(
      ({ stdout }) => stdout.split('\n').length > this.#told || undefined,
      'an answer of Python',
    )
  }

  /** Resolves once all of it is on its way, which takes a connection. */
  async close(): Promise<void> {
    this.#program.child.stdin?.end()
    const code = await this.#program.ended
    if (code !== 0) throw new Error(`Python ended with ${code}: ${this.#program.stderr}`)
  }
}

export interface Received {
  readonly parts: readonly string[]
  readonly value?: string
  readonly timestamp?: number
  readonly error?: string
}

/** A worker of Python's. */
export class PythonWorker {
  readonly #program: Program

  constructor(ground: Playground, port: number, ...levels: string[]) {
    this.#program = ground.start(PYTHON, [PROGRAM, 'work', String(port), ...levels])
  }

  get received(): Received[] {
    return this.#program.stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Received)
  }

  /** Without those that only made sure of a connection. */
  get lines(): Received[] {
    return this.received.filter(({ parts }) => !parts[0]?.includes('|warm-up|'))
  }
}

export interface Processes {
  readonly program: Program
  readonly port: number
  readonly subscribersPort: number
  readonly udpPort: number
  /** A figure of its own, by name. */
  readonly figure: (name: string) => Promise<number>
}

export async function zibrato(ground: Playground, ...args: string[]): Promise<Processes> {
  const { program, listening } = await ground.zibrato(...args)
  const portOf = (url = ''): number => Number(url.split(':').pop())
  return {
    program,
    port: portOf(listening.broker?.publishers),
    subscribersPort: portOf(listening.broker?.subscribers),
    udpPort: portOf(listening.udp),
    async figure(name) {
      const text = await (await fetch(`${listening.http as string}/metrics`)).text()
      const line = text.split('\n').find((each) => each.startsWith(`${name} `))
      return Number(line?.slice(name.length))
    },
  }
}

/** Resolves once lines of a publisher arrive. */
export async function connected(publisher: PythonPublisher, { figure }: Processes): Promise<void> {
  const before = await figure('zibrato_broker_text_lines_total')
  await until(async () => {
    await publisher.publish({ level: 'warm-up', name: 'warm-up', value: 1 })
    return (await figure('zibrato_broker_text_lines_total')) > before
  })
}
