import { join } from 'node:path'
import { DIST, Playground, type Program } from '../flow/processes.ts'

/** What a program that ended has left. */
export interface Ended {
  readonly code: number | NodeJS.Signals
  readonly stdout: string
  readonly stderr: string
}

/** Runs `zibrato <args>`, or another program of the package, to its end. */
export async function zibrato(
  ground: Playground,
  args: readonly string[],
  { env = {}, input = '', bin = 'zibrato' }: { env?: NodeJS.ProcessEnv; input?: string; bin?: string } = {},
): Promise<Ended> {
  const program = start(ground, args, env, bin)
  program.child.stdin?.end(input)
  const code = await program.ended
  return { code, stdout: program.stdout, stderr: program.stderr }
}

/** Starts `zibrato <args>` with these variables. */
export function start(
  ground: Playground,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  bin = 'zibrato',
): Program {
  return ground.start(process.execPath, [join(DIST, `bin/${bin}.js`), ...args], env)
}

/** The log lines of a program, oldest first. */
export function logs({ stderr }: Pick<Program, 'stderr'>): Record<string, unknown>[] {
  return stderr
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

/** Resolves with the log line of a message. */
export function logged(program: Program, message: string): Promise<Record<string, unknown>> {
  return program.output((running) => logs(running).find(({ msg }) => msg === message), `the log line ${message}`)
}
