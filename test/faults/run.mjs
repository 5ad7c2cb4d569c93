// npm run test:faults -- [--long] [--seed N] [-t TITLE] [FILE...]
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { long: { type: 'boolean' }, seed: { type: 'string' }, title: { type: 'string', short: 't' } },
})
const seed = values.seed ?? process.env.ZIBRATO_FAULTS_SEED ?? String(randomInt(2 ** 31))
if (!/^\d+$/.test(seed) || Number(seed) >= 2 ** 32) {
  console.error(`test:faults: --seed ${seed} must be a whole number below 4294967296`)
  process.exit(2)
}
const long = values.long === true || process.env.ZIBRATO_LONG === '1'
console.log(`seed ${seed}${long ? ', long form' : ''}`)
const title = values.title === undefined ? [] : ['-t', values.title.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')]
const args = ['run', '--config', 'test/faults/vitest.config.ts', '--reporter', 'verbose', ...title, ...positionals]
const { status } = spawnSync(process.execPath, ['node_modules/vitest/vitest.mjs', ...args], {
  cwd: resolve(import.meta.dirname, '../..'),
  env: { ...process.env, ZIBRATO_FAULTS_SEED: seed, ZIBRATO_LONG: long ? '1' : '' },
  stdio: 'inherit',
})
if (status !== 0)
  console.error(`test:faults: repeat it with: npm run test:faults -- ${long ? '--long ' : ''}--seed ${seed}`)
process.exit(status ?? 1)
