import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/**
 * Starts a program of `peers/` and waits for its first message. It is killed when this process ends, if not before.
 *
 * @param {string} file
 * @param {readonly unknown[]} [args]
 */
export async function startPeer(file, ...args) {
  const child = fork(fileURLToPath(new URL(`../peers/${file}`, import.meta.url)), args.map(String))
  process.on('exit', () => child.kill('SIGKILL'))
  const ended = once(child, 'exit')
  const [ready] = await Promise.race([
    once(child, 'message'),
    ended.then(([code, signal]) => {
      throw new Error(`bench: ${file} ended with ${signal ?? code} before it was ready`)
    }),
  ])
  return {
    /** Its first message. */
    ready,
    child,
    /** @param {unknown} message */
    tell: (message) => child.send(message),
    /** Its next message, asked for with `question`. @param {unknown} question */
    ask: async (question) => {
      const answered = once(child, 'message')
      child.send(question)
      return (await answered)[0]
    },
    stop: async () => {
      child.kill('SIGKILL')
      await ended
    },
  }
}
