import { chmodSync, lstatSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { UsageError } from '../errors.ts'

/** Where the processes of a program meet: a socket's file, and whether its directory is ours to make. */
export class Address {
  /** `ipc:///run/user/1000/zibrato/metrics` */
  readonly url: string
  readonly path: string
  readonly #isDefault: boolean

  /**
   * @param address `ipc://path`; default `ZIBRATO_AGGREGATOR`, else a file in a directory of this user
   * @throws UsageError for anything else
   */
  constructor(address: string | undefined) {
    const given = address ?? process.env['ZIBRATO_AGGREGATOR'] ?? ''
    this.#isDefault = given === ''
    if (process.platform === 'win32') {
      throw new UsageError(
        'aggregator: ZeroMQ has no sockets in files on Windows; let each process publish to a broker',
      )
    }
    if (!this.#isDefault && !given.startsWith('ipc://')) {
      throw new UsageError(`aggregator: address ${JSON.stringify(given)} is none; give ipc:// and the path of a file`)
    }
    const path = this.#isDefault ? join(userDirectory(), 'metrics') : given.slice('ipc://'.length)
    if (path === '' || path.startsWith('@')) {
      throw new UsageError(
        `aggregator: address ${JSON.stringify(given)} names no file, so anybody could connect; give ipc:// and a path`,
      )
    }
    this.path = resolve(path)
    this.url = `ipc://${this.path}`
  }

  /**
   * Makes sure that nobody else can put a socket there, as far as that is ours to say.
   *
   * @throws UsageError naming the directory or file that is another user's, or everybody's
   */
  secure(): void {
    const directory = dirname(this.path)
    if (this.#isDefault) mkdirSync(directory, { recursive: true, mode: 0o700 })
    const found = lstatSync(directory, { throwIfNoEntry: false })
    const way = 'give another with the option address or ZIBRATO_AGGREGATOR'
    if (found === undefined) throw new UsageError(`aggregator: there is no directory ${directory}; make it, or ${way}`)
    if (this.#isDefault) {
      // who else but its owner could have made a link of it?
      if (!found.isDirectory() || !isOurs(found)) {
        throw new UsageError(`aggregator: ${directory} is no directory of this user; remove it, or ${way}`)
      }
      if ((found.mode & 0o077) !== 0) chmodSync(directory, 0o700)
    } else if ((found.mode & 0o1002) === 0o002) {
      throw new UsageError(`aggregator: anybody may replace files in ${directory}; ${way}`)
    }
    const socket = lstatSync(this.path, { throwIfNoEntry: false })
    if (socket !== undefined && !isOurs(socket)) {
      throw new UsageError(`aggregator: ${this.path} belongs to another user; ${way}`)
    }
  }
}

function isOurs({ uid }: { uid: number }): boolean {
  const own = process.getuid?.()
  return own === uid || own === 0
}

function userDirectory(): string {
  const own = process.env['XDG_RUNTIME_DIR'] ?? ''
  return own === '' ? join(tmpdir(), `zibrato-${process.getuid?.() ?? 'user'}`) : join(own, 'zibrato')
}
