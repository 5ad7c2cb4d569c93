import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { CASES } from './cases.js'
import { tableOf } from './report.js'

const RAW = new URL('./results/', import.meta.url)
const PAGE = new URL('./RESULTS.md', import.meta.url)

/**
 * A case's last full run, as `results/<name>.json` holds it.
 *
 * @typedef {object} Result
 * @property {string} name
 * @property {string} date ISO 8601
 * @property {import('./machine.js').Machine} machine
 * @property {import('./report.js').Run[]} runs
 */

/** @param {Result} result */
export function record({ name, date, machine, runs }) {
  mkdirSync(RAW, { recursive: true })
  const lines = runs.map((run) => `    ${JSON.stringify(run, (_, value) => compact(value))}`)
  const head = JSON.stringify({ name, date, machine }, undefined, 2).replace(/\n\}$/, '')
  writeFileSync(new URL(`${name}.json`, RAW), `${head},\n  "runs": [\n${lines.join(',\n')}\n  ]\n}\n`)
}

/** Writes RESULTS.md from the last full run of every case. */
export async function writeResults() {
  const kept = readdirSync(RAW)
  const results = CASES.filter((name) => kept.includes(`${name}.json`)).map(
    (name) => /** @type {Result} */ (JSON.parse(readFileSync(new URL(`${name}.json`, RAW), 'utf8'))),
  )
  const newest = results.reduce((left, right) => (left.date > right.date ? left : right))
  const parts = [headOf(newest)]
  for (const result of results) parts.push(await sectionOf(result, newest))
  writeFileSync(PAGE, `${parts.join('\n\n')}\n`)
}

/** @param {Result} result */
function headOf({ machine }) {
  const packages = Object.entries(machine.packages).map(([name, version]) => `${name} ${version}`)
  return `# Benchmark results

Written by \`npm run bench -- --write\`; not edited by hand. [README.md](README.md) says what is measured and how.

- ${describe(machine)}
- peers: ${packages.join(', ')}

Medians over rounds; a round runs every contender once, each in a fresh process, in an order that turns from round to
round. A ratio is measured / peer, the median of the rounds' ratios. The raw runs are in \`results/\`.`
}

/** @param {Result} result @param {Result} newest */
async function sectionOf({ name, date, machine, runs }, newest) {
  /** @type {{ default: import('./case.js').Case }} */
  const { default: bench } = await import(`./cases/${name}.js`)
  const rounds = new Set(runs.map(({ round }) => round)).size
  const elsewhere = describe(machine) === describe(newest.machine) ? '' : `, on ${describe(machine)}`
  return `## ${bench.title}

${bench.method}

${tableOf(bench, runs)}

\`${name}\`, ${rounds} rounds, ${date.slice(0, 16).replace('T', ' ')} UTC, load before it ${machine.load}${elsewhere}`
}

/** @param {import('./machine.js').Machine} machine */
function describe({ cpu, cores, memoryGb, system, node }) {
  return `${cpu}, ${cores} cores, ${memoryGb} GB; ${system}; Node ${node}`
}

/** Five digits are more than any of it is worth. @param {unknown} value */
function compact(value) {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value
}
