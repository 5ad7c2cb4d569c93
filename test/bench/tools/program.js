import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DIST } from './dist.js'

const TELL_CPU = new URL('../peers/cpu.js', import.meta.url).href

/**
 * `zibrato <args>` in a process of its own, once it listens. It is killed when this process ends, if not before. What it warns
 * of is printed: figures of a system in trouble are worth nothing.
 *
 * @param {readonly string[]} args
 * @param {(message: unknown) => void} [onMessage]
 */
export async function startZibrato(args, onMessage = () => {}) {
  const child = fork(join(DIST, 'bin/zibrato.js'), args, {
    execArgv: ['--import', TELL_CPU, ...(process.env.BENCH_NODE_ARGS?.split(' ') ?? [])],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  process.on('exit', () => child.kill('SIGKILL'))
  const ended = once(child, 'exit')
  child.on('message', onMessage)
  const said = await listening(child, args)
  return {
    child,
    /** What its log line says: where it listens. */
    said,
    /** Seconds of CPU, all threads. */
    cpu: async () => {
      const answered = once(child, 'message')
      child.send('cpu')
      return /** @type {number} */ ((await answered)[0])
    },
    /** Its figures by name and label, such as `zibrato_worker_frames_total{outcome="merged"}`. */
    figures: async () => {
      const text = await (await fetch(`${said.http}/metrics`)).text()
      return Object.fromEntries(
        text
          .split('\n')
          .filter((line) => line !== '' && !line.startsWith('#'))
          .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
      )
    },
    /** @param {NodeJS.Signals} [signal] */
    stop: async (signal = 'SIGKILL') => {
      child.kill(signal)
      await ended
    },
  }
}

/** @param {import('node:child_process').ChildProcess} child @param {readonly string[]} args */
function listening(child, args) {
  return new Promise((resolve, reject) => {
    child.once('exit', () => reject(new Error(`bench: zibrato ${args.join(' ')} ended before it listened`)))
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (line.includes('"msg":"listening"')) resolve(JSON.parse(line))
      else if (!line.startsWith('{"level":"info"')) process.stderr.write(`${args[0]}: ${line}\n`)
    })
  })
}
