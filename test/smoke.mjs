// Packs the package, installs it into an empty folder, imports every export, compiles programs against its types and runs every
// bin, as a new user would.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..')
const { name, version, exports, bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const folder = mkdtempSync(join(tmpdir(), 'zibrato-smoke-'))
const run = (command, args, cwd = folder) =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })

try {
  // built by whoever calls this
  run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], root)
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  run('npm', ['install', '--no-audit', '--no-fund', `./${name}-${version}.tgz`])

  const entries = Object.keys(exports).filter((entry) => !entry.endsWith('.json'))
  for (const entry of entries) {
    const specifier = name + entry.slice(1)
    const names = run('node', [
      '-e',
      `import(${JSON.stringify(specifier)}).then((m) => console.log(Object.keys(m).join(' ')))`,
    ])
    if (names.trim() === '') throw new Error(`${specifier} exports nothing`)
    console.log(`${specifier}: ${names.trim()}`)
    run('node', ['-e', `require(${JSON.stringify(specifier)})`])
  }
  for (const command of Object.keys(bin)) {
    const help = run('npx', ['--no-install', command, '--help'])
    if (!help.includes('Usage')) throw new Error(`${command} --help says: ${help}`)
    console.log(`${command} --help: ${help.length} characters`)
  }
  compile()
  brokenLinks()
  run('npx', ['--no-install', 'zibrato-lambda-extension', '--layer', 'layer.zip'])
  console.log(`the layer for Lambda: ${readFileSync(join(folder, 'layer.zip')).length} bytes`)
  await countOnce()
  console.log(`${entries.length} entries and ${Object.keys(bin).length} commands work from the packed tarball`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}

/** Programs in the strictest TypeScript, which also reads the package's declarations: on Node with both kinds of decorators, and on the edge. */
function compile() {
  const node = `
import { Zibrato, type Measurement, type ZibratoOptions } from '${name}'
import { Backend, type Frame, type Window } from '${name}/backends'
import { Broker } from '${name}/broker'
import { BrokerSink } from '${name}/gateway'
import { ManualClock, MemoryMetrics, backendContract } from '${name}/testing'
import { Worker } from '${name}/worker'
const transport = new MemoryMetrics()
const options: ZibratoOptions<'info' | 'crit'> = { transport, clock: new ManualClock(), level: 'info' }
export const z = new Zibrato(options)
const hits = z.counter<'route'>('hits', { level: 'crit' })
hits.with({ route: undefined }).inc()
// @ts-expect-error there is no such tag
hits.with({ rote: '/' }).inc()
// @ts-expect-error there is no such level
z.counter('x', { level: 'debug' })
const seconds: Promise<number> = z.timer('db').time(async () => 1)
{ using running = z.timer('db').start(); void [running, seconds] }
export class Cart {
  @z.timeMe({ outcome: true }) pay(this: Cart, amount: number): number { return amount }
  @z.countMe() static async open<Item>(item: Item): Promise<Item> { return item }
}
const measurement: Measurement<'info'> = { type: 'set', name: 'users', value: 'u1', level: 'info' }
z.record(measurement)
export class Printer extends Backend {
  readonly name = 'printer'
  override receive({ level, entries }: Frame): void { console.log(level, entries.map(({ series }) => series.name)) }
  async flush({ end, rollups }: Window): Promise<void> {
    for (const rollup of rollups) console.log(end, rollup.type === 'timer' ? rollup.p99 : rollup.name)
  }
}
export const others = [Broker, BrokerSink, Worker, backendContract]`
  const edge = `
import { Zibrato } from '${name}/edge'
const z = new Zibrato({ url: 'https://metrics.example.com' })
export default {
  async fetch(request: Request): Promise<Response> { z.counter('hits').inc(); await z.flush(); return new Response(request.url) },
}`
  const common = `import { Zibrato } from '${name}'
export const z = new Zibrato({ exitHooks: false })`
  writeFileSync(join(folder, 'program.mts'), node)
  writeFileSync(join(folder, 'worker.mts'), edge)
  writeFileSync(join(folder, 'program.cts'), common)
  const strict = '--ignoreConfig --noEmit --strict --exactOptionalPropertyTypes --noUncheckedIndexedAccess'
  const modern = '--module nodenext --target es2022 --typeRoots'
  const tsc = (...args) =>
    run(join(root, 'node_modules/.bin/tsc'), [
      ...`${strict} ${modern}`.split(' '),
      join(root, 'node_modules/@types'),
      ...args,
    ])
  const forNode = ['--lib', 'es2022,esnext.disposable,esnext.decorators', '--types', 'node']
  tsc(...forNode, 'program.mts', 'program.cts')
  tsc(...forNode, '--experimentalDecorators', 'program.mts')
  tsc('--lib', 'es2022,esnext.disposable,webworker', '--types', '', 'worker.mts')
  console.log('programs compile: in strict TypeScript, with both kinds of decorators, and at the edge')
}

/** Every page and folder that a page of the package points to is in the package; sources are not. */
function brokenLinks() {
  const inside = join(folder, 'node_modules', name)
  const pages = readdirSync(inside, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.md'))
  for (const page of pages) {
    for (const [, target] of readFileSync(join(inside, page), 'utf8').matchAll(
      /\]\(([^)#:]+(?:\.md|\/))(?:#[^)]*)?\)/g,
    )) {
      if (!existsSync(join(inside, dirname(page), target)))
        throw new Error(`${page} points to ${target}, which is not there`)
    }
  }
  console.log(`${pages.length} pages of documentation, no link of which leads nowhere`)
}

/** One counter through `zibrato up` into a file, with nothing but what was installed. */
async function countOnce() {
  // not by npx, which does not wait for what it started when it is told to stop
  const up = spawn(
    join(folder, 'node_modules/.bin/zibrato'),
    ['up', '--port', '0', '--http', '0', '--udp', '0', '--flush', '1', '--to', 'file:out.jsonl'],
    { cwd: folder, stdio: ['ignore', 'inherit', 'pipe'] },
  )
  const ended = new Promise((done) => up.once('exit', done))
  try {
    const listening = await new Promise((found, failed) => {
      let text = ''
      up.stderr.on('data', (chunk) => {
        text += chunk
        const line = text.split('\n').find((each) => each.includes('"msg":"listening"'))
        if (line !== undefined) found(JSON.parse(line))
      })
      up.once('exit', (code) => failed(new Error(`zibrato up ended with ${code}: ${text}`)))
    })
    const program = [
      `import { Zibrato } from '${name}'`,
      `const z = new Zibrato({ url: '${listening.broker.publishers}' })`,
      `z.counter('smoke').inc(7)`,
      `await z.close()`,
    ]
    writeFileSync(join(folder, 'program.mjs'), program.join('\n'))
    run('node', ['program.mjs'])
  } finally {
    up.kill('SIGTERM')
  }
  await ended
  const lines = readFileSync(join(folder, 'out.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const sum = lines.filter((line) => line.name === 'smoke').reduce((total, { value }) => total + value, 0)
  if (sum !== 7) throw new Error(`7 were counted, ${sum} arrived`)
}
