import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { CASES } from './cases.js'
import { machine } from './machine.js'
import { tableOf } from './report.js'
import { record, writeResults } from './results.js'
import { OTHER_BUILD } from './tools/dist.js'

const USAGE = `usage: npm run bench -- [--quick] [--only NAME]... [--write] [--list]

  --quick      one short round of each, no more than 100,000 series
  --only NAME  this case alone; may be repeated
  --write      keep the raw runs in results/ and write RESULTS.md
  --list       names of the cases
`

/** How long one contender may take, start and warm-up included. */
const LIMIT_MS = 180_000

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    write: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const unknown = options.only.find((name) => !CASES.includes(name))
if (options.help) {
  process.stdout.write(USAGE)
} else if (options.list) {
  process.stdout.write(`${CASES.join('\n')}\n`)
} else if (unknown !== undefined) {
  process.stderr.write(`bench: there is no case ${unknown}; --list names them\n`)
  process.exitCode = 2
} else if (options.write && options.quick) {
  process.stderr.write('bench: one short round is not worth keeping; leave --quick or --write out\n')
  process.exitCode = 2
} else {
  await run(options.only.length > 0 ? options.only : CASES)
}

/** @param {readonly string[]} names */
async function run(names) {
  for (const name of names) {
    /** @type {{ default: import('./case.js').Case }} */
    const { default: bench } = await import(`./cases/${name}.js`)
    const started = new Date()
    const at = machine()
    const runs = await rounds(bench)
    process.stdout.write(`\n## ${bench.title}\n\n${tableOf(bench, runs)}\n`)
    if (options.write) record({ name, date: started.toISOString(), machine: at, runs })
  }
  if (options.write) await writeResults()
}

/**
 * Every contender in a fresh process, once a round, in an order that turns with each round, so that a machine that slows
 * down favours nobody.
 *
 * @param {import('./case.js').Case} bench
 * @returns {Promise<import('./report.js').Run[]>}
 */
async function rounds(bench) {
  const contenders = Object.keys(bench.contenders)
  const sizes = (bench.sizes ?? [0]).filter((size) => !options.quick || size <= 100_000)
  const roundsOf = (/** @type {number} */ size) => (options.quick ? 1 : (bench.rounds?.(size) ?? 5))
  const count = Math.max(...sizes.map(roundsOf))
  const runs = []
  for (let round = 0; round < count; round++) {
    for (const size of sizes.filter((each) => round < roundsOf(each))) {
      const order = [...contenders.slice(round % contenders.length), ...contenders.slice(0, round % contenders.length)]
      if (round % 2 === 1) order.reverse()
      for (const contender of order) {
        process.stderr.write(`${bench.name} ${round + 1}/${count} ${size === 0 ? '' : `${size} `}${contender}\n`)
        const figures = await runOne(bench, contender, size)
        runs.push({ round, size, contender, figures })
      }
    }
  }
  return runs
}

/**
 * @param {import('./case.js').Case} bench
 * @param {string} contender
 * @param {number} size
 * @returns {Promise<import('./case.js').Figures>}
 */
function runOne(bench, contender, size) {
  const child = fork(
    fileURLToPath(new URL('./contender.js', import.meta.url)),
    [bench.name, contender, String(size), options.quick ? '0.5' : '1'],
    { execArgv: [...(bench.nodeArgs ?? []), ...OTHER_BUILD], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
  )
  const limit = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS)
  return new Promise((resolve, reject) => {
    let figures
    child.on('message', (message) => (figures = message))
    child.on('exit', (code, signal) => {
      clearTimeout(limit)
      if (figures !== undefined && code === 0) resolve(figures)
      else reject(new Error(`bench: ${bench.name}, ${contender}: ended with ${signal ?? code} and no figures`))
    })
  })
}
