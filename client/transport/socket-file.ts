import { chmodSync, existsSync, lstatSync, unlinkSync } from 'node:fs'
import { connect } from 'node:net'
import { platform } from 'node:os'
import { dirname } from 'node:path'
import { UsageError, ZibratoError } from '../errors.ts'

/** Bytes of a socket's path, without the NUL behind them: `sun_path` of unix(7). */
const MAX_PATH_BYTES = platform() === 'linux' ? 107 : 103

/** Whether somebody listens at a socket's path: `absent` when there is no such file any more. */
export type Occupant = 'alive' | 'dead' | 'absent'

/** The file of a Unix socket: where it is bound, and what becomes of one that is there already. */
export class SocketFile {
  readonly path: string
  readonly #component: string
  readonly #flag: string
  readonly #mode: number
  #identity: string | undefined

  /**
   * @param mode permissions, such as 0o666: who may write to it may send
   * @throws UsageError for a path that is too long for a socket, or for permissions that are none
   */
  constructor(component: string, flag: string, path: string, mode: number) {
    this.path = path
    this.#component = component
    this.#flag = flag
    this.#mode = mode
    if (path === '' || path.includes('\0') || Buffer.byteLength(path) > MAX_PATH_BYTES) {
      throw new UsageError(
        `${component}: a socket's path has 1 to ${MAX_PATH_BYTES} bytes, not ${Buffer.byteLength(path)}; give another with ${flag}`,
      )
    }
    if (!Number.isInteger(mode) || mode < 0 || mode > 0o777) {
      throw new UsageError(`${component}: ${mode} are no permissions; give --unix-mode in octal, such as 0660`)
    }
  }

  /**
   * Binds, and once more when what was there turned out to be left behind by a process that is gone.
   *
   * @param bind rejects with `code` EADDRINUSE when there is a file
   * @param probe whether somebody listens there
   * @throws ZibratoError with code `ERR_LISTEN` when somebody does, or what is there is no socket, or it cannot be bound
   */
  async claim(bind: () => Promise<void>, probe: () => Promise<Occupant>): Promise<void> {
    try {
      const before = this.#identityAtPath()
      await bind().catch(async (cause: unknown) => {
        if (codeOf(cause) !== 'EADDRINUSE') throw cause
        if ((await probe()) === 'alive') throw cause
        // unless somebody else was quicker to replace it
        if (before !== undefined && before === this.#identityAtPath()) unlinkSync(this.path)
        await bind()
      })
      chmodSync(this.path, this.#mode)
      this.#identity = this.#identityAtPath()
    } catch (cause) {
      throw new ZibratoError(
        'ERR_LISTEN',
        `${this.#component}: cannot listen on ${this.path}: ${this.#wayOut(codeOf(cause))}`,
        { cause },
      )
    }
  }

  /** Removes the file, unless it is somebody else's by now. */
  remove(): void {
    try {
      if (this.#identity !== undefined && this.#identity === this.#identityAtPath()) unlinkSync(this.path)
    } catch {
      // whoever is next replaces it
    }
    this.#identity = undefined
  }

  /** Tells the socket at the path from others; undefined when there is none. @throws when there is something else */
  #identityAtPath(): string | undefined {
    const found = lstatSync(this.path, { bigint: true, throwIfNoEntry: false })
    if (found === undefined) return undefined
    if (!found.isSocket()) throw Object.assign(new Error('no socket'), { code: 'ENOTSOCK' })
    // a file system may give the number of a removed file to the next one at once
    return `${found.ino} ${found.mtimeNs}`
  }

  #wayOut(code: string): string {
    const other = `choose another path with ${this.#flag}`
    if (code === 'EADDRINUSE') return `a process listens there; stop it or ${other}`
    if (code === 'ENOTSOCK') return `there is a file that is no socket; remove it or ${other}`
    if (!existsSync(dirname(this.path))) return `there is no such directory; make it or ${other}`
    if (code === 'EACCES' || code === 'EPERM') return `no permission; make the directory writable or ${other}`
    return `${code === '' ? 'unknown reason' : code}; ${other}`
  }
}

/** Whether somebody listens at the path of a stream socket. */
export function occupant(path: string): Promise<Occupant> {
  return new Promise((resolve) => {
    const socket = connect(path)
    const answer = (found: Occupant): void => {
      socket.destroy()
      resolve(found)
    }
    socket.once('connect', () => answer('alive'))
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      // in doubt, such as without permission to ask, somebody may be there
      answer(code === 'ECONNREFUSED' ? 'dead' : code === 'ENOENT' ? 'absent' : 'alive')
    })
  })
}

function codeOf(error: unknown): string {
  return (error as { code?: string } | undefined)?.code ?? ''
}
