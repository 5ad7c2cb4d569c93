import { randomInt } from 'node:crypto'
import { Random } from './random.ts'

const given = process.env['ZIBRATO_FAULTS_SEED']

/** What every random decision of a test comes from; `--seed` repeats it. */
export const SEED: number = given === undefined ? randomInt(2 ** 31) : Number(given)

/** Whether there are ten minutes, and not one. */
export const LONG: boolean = process.env['ZIBRATO_LONG'] === '1'

/** How long something is waited for, on a machine that may have much else to do. */
export const PATIENCE_MS = 120_000

/** @param test its name, so that each has decisions of its own */
export function randomFor(test: string): Random {
  console.log(`${test}: npm run test:faults -- ${LONG ? '--long ' : ''}--seed ${SEED} -t ${JSON.stringify(test)}`)
  return new Random(SEED).fork(test)
}
