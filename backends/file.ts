import { type FileHandle, mkdir, open, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { UsageError } from '../client/errors.ts'
import { orAborted } from './abort.ts'
import { Backend, type Window } from './backend.ts'
import { pacer } from '../client/pace.ts'
import { recordOf } from './record.ts'
import { lastWindow, measure, repairTail } from './tail.ts'
import type { BackendUrl, InDoubt } from './url.ts'

const CHUNK = 262_144

// what no second attempt mends, and what to do about it
const HOPELESS: Readonly<Record<string, string>> = {
  EISDIR: 'it is a directory; name a file in it',
  EACCES: 'permission denied; let this user write it or name another file',
  EPERM: 'permission denied; let this user write it or name another file',
  EROFS: 'the file system is read-only; name another file',
  ENOTDIR: 'a part of its path is no directory; correct the path',
  EEXIST: 'a part of its path is no directory; correct the path',
  ENAMETOOLONG: 'the name is too long; shorten it',
  ELOOP: 'its links go round in circles; correct the path',
  ENXIO: 'it is a socket; name a file',
}

/**
 * `file:metrics.jsonl`: appends each rollup as one line of JSON, as {@link recordOf} shapes it. A window is there whole or
 * not at all, also after a full disk or a kill; the file may be renamed away at any time, then a new one begins.
 *
 * Options: `sync=yes` has each window on the disk, and not only with the operating system, before it counts as taken.
 */
export class FileBackend extends Backend {
  readonly name = 'file'
  override readonly inDoubt: InDoubt = 'resend'
  readonly #path: string
  readonly #sync: boolean
  #file: OpenFile | undefined
  // appends and their undoing happen one after another
  #last: Promise<void> = Promise.resolve()
  // what an earlier process wrote of the last window, which may be sent again
  #written: { time: number; lines: Set<string> } | undefined
  #closed = false

  constructor(url: BackendUrl) {
    super()
    if (url.host !== '' && url.host !== 'localhost') {
      throw new UsageError(`file: reads ${url.host} as a host; write file:NAME, or file:///PATH from the root`)
    }
    if (url.path === '' || url.path.includes('\0')) {
      throw new UsageError('file: names no file; write for example file:metrics.jsonl')
    }
    this.#sync = url.params.flag('sync') ?? false
    this.#path = resolve(url.path)
  }

  /** @throws UsageError for a file that cannot be appended to */
  override async connect(): Promise<void> {
    try {
      this.#file = await openFile(this.#path)
      if (!this.#file.regular) return
      await repairTail(this.#file.handle, this.#path)
      this.#written = await lastWindow(this.#file.handle)
    } catch (error) {
      await this.#release()
      if (error instanceof UsageError) throw error
      const wayOut = HOPELESS[codeOf(error)]
      if (wayOut === undefined) throw this.#failure(error, 'try again')
      throw new UsageError(`file: cannot append to ${this.#path}: ${wayOut}`, { cause: error })
    }
  }

  override flush(window: Window, signal: AbortSignal): Promise<void> {
    const append = this.#last.then(() => this.#append(window, signal))
    this.#last = append.catch(() => {})
    return orAborted(append, signal)
  }

  override async close(): Promise<void> {
    this.#closed = true
    await this.#last
    await this.#release()
  }

  async #release(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    this.#written = undefined
    await file?.handle.close()
  }

  async #append(window: Window, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#closed) throw new Error(`file: ${this.#path} is closed`)
    if (window.rollups.length === 0) return
    let file: OpenFile
    try {
      file = await this.#current()
      await file.begin()
    } catch (error) {
      throw this.#failure(error, 'will try again')
    }
    try {
      for await (const chunk of this.#chunks(window, signal)) await file.write(chunk)
      if (this.#sync) await file.handle.datasync()
      signal.throwIfAborted()
    } catch (error) {
      const outcome = await file.rollBack()
      throw signal.aborted ? signal.reason : this.#failure(error, outcome)
    }
    if (this.#written !== undefined && window.end > this.#written.time) this.#written = undefined
  }

  /** The file of that name: another one after the last was renamed or removed. */
  async #current(): Promise<OpenFile> {
    const file = this.#file
    if (file !== undefined) {
      const found = await stat(this.#path).catch(() => undefined)
      if (found?.ino === file.inode && found.dev === file.device) return file
      await this.#release()
    }
    return (this.#file = await openFile(this.#path))
  }

  /** The window's lines, joined to pieces that end with a line. */
  async *#chunks(window: Window, signal: AbortSignal): AsyncGenerator<string> {
    const breathe = pacer()
    const written = this.#written?.time === window.end ? this.#written.lines : undefined
    let chunk = ''
    for (const rollup of window.rollups) {
      const line = JSON.stringify(recordOf(window, rollup))
      if (written?.has(line) !== true) chunk += `${line}\n`
      if (chunk.length >= CHUNK) {
        yield chunk
        chunk = ''
      }
      const pause = breathe()
      if (pause !== undefined) {
        await pause
        signal.throwIfAborted()
      }
    }
    if (chunk !== '') yield chunk
  }

  #failure(error: unknown, outcome: string): Error {
    const message = error instanceof Error ? error.message : String(error)
    return new Error(`file: cannot append to ${this.#path}: ${message}; ${outcome}`, { cause: error })
  }
}

/** A file open for appending, and how far this process has appended. */
class OpenFile {
  readonly handle: FileHandle
  /** False for a pipe or device, which takes nothing back. */
  readonly regular: boolean
  readonly inode: number
  readonly device: number
  #begun = 0
  #size = 0

  constructor(handle: FileHandle, found: { ino: number; dev: number; isFile(): boolean }) {
    this.handle = handle
    this.regular = found.isFile()
    this.inode = found.ino
    this.device = found.dev
  }

  /** Where {@link rollBack} goes back to. */
  async begin(): Promise<void> {
    if (!this.regular) return
    const { size, torn } = await measure(this.handle)
    this.#begun = size
    this.#size = size
    // half a line of another writer must not take ours along
    if (torn) await this.write('\n')
  }

  async write(text: string): Promise<void> {
    const bytes = Buffer.from(text)
    for (let offset = 0; offset < bytes.length;) {
      const { bytesWritten } = await this.handle.write(bytes, offset)
      offset += bytesWritten
      this.#size += bytesWritten
    }
  }

  /** Takes back what was written since {@link begin}; says how that went. Never rejects. */
  async rollBack(): Promise<string> {
    if (this.#size === this.#begun) return 'nothing of this window was written'
    try {
      if (!this.regular) return 'the lines that were written will come twice'
      if ((await this.handle.stat()).size !== this.#size) return 'another process writes it: some lines will come twice'
      await this.handle.truncate(this.#begun)
      return 'what was written of this window is taken back'
    } catch (error) {
      return `what was written could not be taken back (${codeOf(error)}): some lines will come twice`
    }
  }
}

async function openFile(path: string): Promise<OpenFile> {
  await mkdir(dirname(path), { recursive: true })
  const handle = await open(path, 'a+')
  return new OpenFile(handle, await handle.stat())
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code ?? error)
}
