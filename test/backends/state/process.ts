import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterEach } from 'vitest'
import { until } from '../../until.ts'

/** Bundles `child.ts` into a directory: a process that starts in a moment. */
export async function buildChild(directory: string): Promise<string> {
  const outfile = join(directory, 'child.mjs')
  const entryPoints = [join(import.meta.dirname, 'child.ts')]
  await build({ entryPoints, outfile, bundle: true, platform: 'node', format: 'esm', logLevel: 'error' })
  return outfile
}

export interface Child {
  readonly process: ChildProcess
  /** What it has said. */
  readonly lines: unknown[]
  /** Resolves once it says something that is `wanted`. */
  says(wanted: (line: unknown) => boolean): Promise<unknown>
  /** Resolves with how it ended, once all that it said is in `lines`. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
}

/** Starts children that are killed when their test ends. */
export function children(): (file: string, ...args: string[]) => Child {
  const started: Child[] = []
  afterEach(async () => {
    for (const child of started.splice(0)) {
      child.process.kill('SIGKILL')
      await child.ended
    }
  })
  return (file, ...args) => {
    const process = spawn('node', [file, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
    const lines: unknown[] = []
    let rest = ''
    process.stdout.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n')
      rest = parts.pop() as string
      lines.push(...parts.map((part) => JSON.parse(part) as unknown))
    })
    const ended: Child['ended'] = new Promise((resolve) => {
      process.on('close', (code, signal) => resolve({ code, signal }))
    })
    const says: Child['says'] = async (wanted) => {
      await until(() => lines.some(wanted), `the child says more than ${JSON.stringify(lines)}`)
      return lines.find(wanted)
    }
    const child = { process, lines, says, ended }
    started.push(child)
    return child
  }
}
