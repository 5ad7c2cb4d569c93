import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type EmulatorOptions, LambdaEmulator, type Outcome } from '../../examples/lambda/emulator.ts'
import type { ZibratoStats } from '../../client/stats.ts'
import { DIST } from '../flow/processes.ts'
import { freePort } from '../free-port.ts'

/** How a function sends: by itself, or through the extension. */
export const MODES = ['direct', 'extension'] as const
export type Mode = (typeof MODES)[number]

/** What a function of `function.mjs` answers. */
export interface Answered {
  readonly n: number
  readonly stats: ZibratoStats
  readonly waits?: boolean
}

/** An environment in which a function of `function.mjs` runs, and the built extension if it is to. */
export async function sandbox(
  mode: Mode,
  handler: string,
  env: Readonly<Record<string, string>>,
  options: Partial<EmulatorOptions> = {},
): Promise<LambdaEmulator> {
  return LambdaEmulator.start({
    folder: import.meta.dirname,
    handler: `function.${handler}`,
    extension: mode === 'direct' ? undefined : [process.execPath, join(DIST, 'bin/zibrato-lambda-extension.js')],
    // on a machine that has other things to do
    timeoutMs: 120_000,
    shutdownMs: [20_000, 20_000],
    ...options,
    env: {
      CLIENT: pathToFileURL(join(DIST, 'client/lambda.js')).href,
      ZIBRATO_EXTENSION_PORT: String(await freePort()),
      ...env,
    },
  })
}

/** @throws when it failed */
export function answered({ body, error }: Outcome): Answered {
  if (error !== undefined) throw new Error(`${error.errorType}: ${error.errorMessage}`)
  return JSON.parse(body) as Answered
}

/** What the extension says of itself when it stops. */
export function lastWords(emulator: LambdaEmulator): ZibratoStats & { readonly reason: string } {
  const line = emulator.output.split('\n').findLast((each) => each.includes('"msg":"stopped"'))
  if (line === undefined) throw new Error(`the extension did not stop in time:\n${emulator.output}`)
  return JSON.parse(line) as ZibratoStats & { reason: string }
}
