// Packs the package, installs it into an empty folder, imports every export and runs every bin, as a new user would.
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

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
  await countOnce()
  console.log(`${entries.length} entries and ${Object.keys(bin).length} commands work from the packed tarball`)
} finally {
  rmSync(folder, { recursive: true, force: true })
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
