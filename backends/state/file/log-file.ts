import { type FileHandle, open } from 'node:fs/promises'

/**
 * A file that grows at its end. What a failed write left behind is cut off before anything else is written, so the file
 * never holds more than a torn tail.
 */
export class LogFile {
  /** Where the next record goes; what lies behind is not part of the log. */
  size: number
  readonly path: string
  readonly #handle: FileHandle
  #torn = false
  #reading = 0
  #closing: Promise<void> | undefined
  #idle: (() => void) | undefined

  private constructor(path: string, handle: FileHandle, size: number) {
    this.path = path
    this.#handle = handle
    this.size = size
  }

  /** Creates it empty, replacing what is there; readable by its owner only. */
  static async create(path: string): Promise<LogFile> {
    return new LogFile(path, await open(path, 'w+', 0o600), 0)
  }

  /** @throws Error with code ENOENT when there is none */
  static async open(path: string): Promise<LogFile> {
    const handle = await open(path, 'r+')
    try {
      return new LogFile(path, handle, (await handle.stat()).size)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /** Writes buffers one behind another, all or none; answers where the first went. One caller at a time. */
  async append(buffers: readonly Uint8Array[], sync: boolean): Promise<number> {
    const start = this.size
    if (this.#torn) await this.#cut()
    this.#torn = true
    try {
      let end = start
      let rest = buffers.filter(({ length }) => length > 0)
      while (rest.length > 0) {
        const { bytesWritten } = await this.#handle.writev(rest, end)
        if (bytesWritten === 0) throw new Error('nothing was written')
        end += bytesWritten
        rest = behind(rest, bytesWritten)
      }
      if (sync) await this.#handle.datasync()
      this.size = end
      this.#torn = false
      return start
    } catch (error) {
      // when even this fails, the next append tries again first
      await this.#cut().catch(() => {})
      throw error
    }
  }

  /** Takes everything behind `size` off. */
  async truncate(size: number): Promise<void> {
    this.size = size
    await this.#cut()
  }

  /** Reads exactly these bytes; started before `close`, it still gets them. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const buffer = Buffer.allocUnsafeSlow(length)
    if ((await this.readInto(buffer, offset)) < length) {
      throw new Error(`${this.path} ends within the ${length} bytes at ${offset}: something else cut it`)
    }
    return buffer
  }

  /** Fills a buffer; answers how many bytes there were. */
  async readInto(buffer: Uint8Array, offset: number): Promise<number> {
    if (this.#closing !== undefined) throw new Error(`${this.path} is closed`)
    this.#reading++
    try {
      let filled = 0
      while (filled < buffer.length) {
        const { bytesRead } = await this.#handle.read(buffer, filled, buffer.length - filled, offset + filled)
        if (bytesRead === 0) break
        filled += bytesRead
      }
      return filled
    } finally {
      if (--this.#reading === 0) this.#idle?.()
    }
  }

  /** What was written survives the machine from here on. */
  async sync(): Promise<void> {
    await this.#handle.datasync()
  }

  /** Waits for reads under way. Idempotent. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    if (this.#reading > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
    await this.#handle.close()
  }

  async #cut(): Promise<void> {
    await this.#handle.truncate(this.size)
    this.#torn = false
  }
}

/** What is left of some buffers behind their first `count` bytes. */
function behind(buffers: readonly Uint8Array[], count: number): Uint8Array[] {
  let skip = count
  let index = 0
  while (index < buffers.length && skip >= (buffers[index] as Uint8Array).length) {
    skip -= (buffers[index++] as Uint8Array).length
  }
  const rest = buffers.slice(index)
  if (skip > 0) rest[0] = (rest[0] as Uint8Array).subarray(skip)
  return rest
}

/** Makes names created, renamed and removed in a directory survive the machine. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
