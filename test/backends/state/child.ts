// A process for tests to kill. `node child.js hold DIR` opens a state once told to on stdin, says how that went and stays;
// `crash DIR N` goes through SCRIPT and kills itself at its Nth call to the file system; `full DIR` meets a full disk.
import { execFileSync } from 'node:child_process'
import { writeSync } from 'node:fs'
import fs, { type FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { FileState } from '../../../backends/state/file.ts'
import { perform } from './model.ts'
import { SCRIPT } from './script.ts'

const [mode, directory = '', nth] = process.argv.slice(2)
const settings = { group: 'g', backends: ['a', 'b'] }
const say = (line: unknown): void => void writeSync(1, `${JSON.stringify(line)}\n`)
const fresh = (): FileState => new FileState({ directory, onWarning: (warning) => say({ warning }) })

switch (mode) {
  case 'hold':
    process.stdin.once('data', () => {
      fresh()
        .open(settings)
        .then(
          () => say('open'),
          (error: Error) => say({ error: error.message }),
        )
    })
    say('ready')
    break
  case 'crash':
    await killAt(Number(nth))
    await crash()
    break
  case 'full':
    await meetFullDisk()
    break
  default:
    throw new Error(`child: ${mode} is no mode`)
}

async function crash(): Promise<void> {
  let state = fresh()
  await state.open(settings)
  let compacted: Promise<void> | undefined
  for (const step of SCRIPT) {
    if (step.kind === 'compact') compacted = state.compact()
    else if (step.kind !== 'restart') await perform(state, step)
    else {
      await compacted
      await state.close()
      state = fresh()
      await state.open(settings)
    }
    say('done')
  }
  await state.close()
}

/** Counts the calls that change the file system, and dies in the Nth: half-way, when it is one that writes. */
async function killAt(last: number): Promise<void> {
  let count = 0
  const die = (): void => void process.kill(process.pid, 'SIGKILL')
  const probe = await fs.open('/dev/null', 'w')
  const handle = Object.getPrototypeOf(probe) as FileHandle
  await probe.close()
  const writev = Reflect.get(handle, 'writev') as (this: FileHandle, ...args: unknown[]) => Promise<unknown>
  Reflect.set(handle, 'writev', async function (this: FileHandle, buffers: Uint8Array[], position: number) {
    if (++count < last) return writev.call(this, buffers, position)
    const all = Buffer.concat(buffers)
    await writev.call(this, [all.subarray(0, all.length / 2)], position)
    return die()
  })
  const countIn = (object: object, name: string): void => {
    const original = Reflect.get(object, name) as (...args: unknown[]) => unknown
    Reflect.set(object, name, function (this: unknown, ...args: unknown[]) {
      if (++count >= last) die()
      return original.apply(this, args)
    })
  }
  for (const name of ['datasync', 'sync', 'truncate']) countIn(handle, name)
  for (const name of ['open', 'writeFile', 'link', 'unlink', 'rename', 'rm', 'mkdir', 'truncate']) countIn(fs, name)
  syncBuiltinESMExports()
}

async function meetFullDisk(): Promise<void> {
  const limit = (bytes: string): unknown => execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:`])
  const log = join(directory, 'log')
  const state = fresh()
  await state.open(settings)
  await perform(state, { kind: 'append', entries: [[0, 'before']] })
  const { size } = await fs.stat(log)
  limit(String(size + 5000))
  const failures: string[] = []
  const noted = (error: Error): void => void failures.push(error.message)
  await perform(state, {
    kind: 'append',
    entries: [
      [0, 'small '],
      [0, 'large '.repeat(1000)],
    ],
  }).catch(noted)
  const window = { shard: 0, full: true, entries: 1, outbox: 'rollups '.repeat(1000) }
  await perform(state, { kind: 'commit', windows: [{ ...window, snapshot: 'never' }] }).catch(noted)
  const sizes = [size, (await fs.stat(log)).size]
  await perform(state, { kind: 'append', entries: [[0, 'fits']] })
  limit('unlimited')
  await perform(state, { kind: 'append', entries: [[0, 'after '.repeat(1000)]] })
  await perform(state, { kind: 'commit', windows: [{ ...window, snapshot: 'later' }] })
  await state.close()
  say({ failures, sizes })
}
