import { randomUUID } from 'node:crypto'
import { link, readFile, readdir, readlink, stat, truncate, unlink, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { UsageError } from '../../../client/errors.ts'

const NAME = /^lock\.(\d+)$/
const DRAFT = /^lock-draft\./

const BEAT_MS = 1000

/** Who holds a lock. A pid alone says little: it is given again after a while, and counts within its container only. */
interface Holder {
  /** 0: nobody. */
  readonly pid: number
  /** When that process started, in the kernel's words; empty where there is no /proc. */
  readonly start: string
  /** Where the pid counts: host and pid namespace. */
  readonly space: string
}

export interface LockOptions {
  readonly directory: string
  /** Who wants it, as error messages begin. */
  readonly name: string
  /** Called once, when another process found this one dead and took the directory over. */
  readonly onLost?: () => void
  /** How long a holder whose pid means nothing here (another container) may be silent, ms. Default 5,000. */
  readonly patienceMs?: number
}

/**
 * The right to use a directory: a file `lock.<n>` that names its holder. The highest `n` counts; who finds its holder gone
 * creates `lock.<n+1>`, which only one can, and the highest never goes away but for a higher one. So two that find the
 * same dead holder cannot both win, and a slow one cannot remove the lock of a quick one.
 */
export class DirectoryLock {
  readonly #path: string
  readonly #beat: NodeJS.Timeout

  private constructor(path: string, { onLost = () => {} }: LockOptions) {
    this.#path = path
    this.#beat = setInterval(() => {
      const now = new Date()
      utimes(path, now, now).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') return
        clearInterval(this.#beat)
        onLost()
      })
    }, BEAT_MS).unref()
  }

  /** @throws UsageError naming the process that holds it */
  static async take(options: LockOptions): Promise<DirectoryLock> {
    const { directory, name, patienceMs = 5 * BEAT_MS } = options
    const self = await describeSelf()
    const draft = await writeDraft(directory, self)
    try {
      for (;;) {
        const newest = await highest(directory)
        if (newest > 0) await refuseWhenHeld(join(directory, `lock.${newest}`), self, name, patienceMs)
        const path = join(directory, `lock.${newest + 1}`)
        try {
          // unlike a file created and then written, a link is never seen without its content
          await link(draft, path)
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue
          throw error
        }
        if ((await highest(directory)) === newest + 1) {
          await tidy(directory, newest)
          return new DirectoryLock(path, options)
        }
        await unlink(path).catch(ignoreMissing)
      }
    } finally {
      await unlink(draft).catch(ignoreMissing)
    }
  }

  async release(): Promise<void> {
    clearInterval(this.#beat)
    // emptied, not removed: the number must stay taken; and this works on a full disk
    await truncate(this.#path).catch(ignoreMissing)
  }
}

async function refuseWhenHeld(path: string, self: Holder, name: string, patienceMs: number): Promise<void> {
  const holder = await readHolder(path)
  if (holder.pid === 0) return
  if (holder.space !== self.space) {
    if (await isSilent(path, patienceMs)) return
  } else if (!(await isAlive(holder))) return
  const who =
    holder.space !== self.space
      ? `process ${holder.pid} of another container or machine (${holder.space})`
      : holder.pid === process.pid
        ? `this process (pid ${holder.pid})`
        : `process ${holder.pid}`
  throw new UsageError(
    `${name} is in use by ${who}: a state directory serves one worker at a time. Stop that one, choose another ` +
      'directory, or have several workers share --state redis://HOST:PORT',
  )
}

async function isAlive({ pid, start }: Holder): Promise<boolean> {
  let isOurs = true
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    isOurs = false
  }
  if (start === '') return true
  const found = await startOf(pid)
  // another user's process may be hidden from /proc, our own is not there only when it ended
  return found === undefined ? !isOurs : found === start
}

/** Whether nobody touches the lock for a while: the one sign of life that crosses containers. */
async function isSilent(path: string, patienceMs: number): Promise<boolean> {
  const first = await touchedMs(path)
  for (let waited = 0; waited < patienceMs; waited += BEAT_MS / 4) {
    await wait(BEAT_MS / 4)
    if ((await touchedMs(path)) !== first) return false
  }
  return true
}

/** Infinity when it is gone. */
async function touchedMs(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.mtimeMs ?? Number.POSITIVE_INFINITY
}

async function describeSelf(): Promise<Holder> {
  const namespace = await readlink('/proc/self/ns/pid').catch(() => '')
  return { pid: process.pid, start: (await startOf(process.pid)) ?? '', space: `${hostname()} ${namespace}`.trim() }
}

/** When a process started: the boot's id and its ticks since. Undefined when there is none, or no /proc, or it is a zombie. */
async function startOf(pid: number): Promise<string | undefined> {
  try {
    const status = await readFile(`/proc/${pid}/stat`, 'latin1')
    // the name in brackets may hold anything, so count from behind it
    const fields = status.slice(status.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined
    return `${(await readFile('/proc/sys/kernel/random/boot_id', 'latin1')).trim()} ${fields[19]}`
  } catch {
    return undefined
  }
}

/** Who holds it; a file that is gone or says nothing (released, or written just before a power failure): nobody. */
async function readHolder(path: string): Promise<Holder> {
  try {
    const { pid, start, space } = JSON.parse(await readFile(path, 'utf8')) as Record<keyof Holder, unknown>
    if (Number.isSafeInteger(pid)) return { pid: pid as number, start: String(start), space: String(space) }
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException
    if (syscall !== undefined && code !== 'ENOENT') throw error
  }
  return { pid: 0, start: '', space: '' }
}

async function writeDraft(directory: string, holder: Holder): Promise<string> {
  const path = join(directory, `lock-draft.${randomUUID()}`)
  await writeFile(path, `${JSON.stringify(holder)}\n`, { mode: 0o600, flag: 'wx' })
  return path
}

async function highest(directory: string): Promise<number> {
  const numbers = (await readdir(directory)).map((name) => Number(NAME.exec(name)?.[1] ?? 0))
  return Math.max(0, ...numbers)
}

/** Removes the locks before ours, and drafts whose writers were killed. */
async function tidy(directory: string, through: number): Promise<void> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name)
    const number = Number(NAME.exec(name)?.[1] ?? Number.POSITIVE_INFINITY)
    const abandoned = DRAFT.test(name) && (await touchedMs(path)) < Date.now() - 60_000
    if (number <= through || abandoned) await unlink(path).catch(ignoreMissing)
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}
