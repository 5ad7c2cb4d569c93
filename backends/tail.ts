import type { FileHandle } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { UsageError } from '../client/errors.ts'

const BLOCK = 65_536
// far above what the limits of a series allow a line to be
const LONGEST_LINE = 1 << 20
const LONGEST_WINDOW = 1 << 26
// a single write is over by then
const WRITING_MS = 20
// how every line of a metrics file begins
const BEGINNING = '{"time":'

interface Line {
  /** Where it starts in the file. */
  readonly start: number
  readonly text: string
  /** Whether a line break follows. */
  readonly ended: boolean
}

/**
 * Makes a file of JSON lines fit to be appended to. What a killed process left unfinished behind the last line break is
 * cut off; a whole line without its break gets one. Looks at the end of the file only.
 *
 * @throws UsageError when the file ends in something that was never a line of metrics
 */
export async function repairTail(handle: FileHandle, path: string): Promise<void> {
  if (!(await measure(handle)).torn) return
  for await (const { start, text } of linesBackwards(handle)) {
    // a power failure can leave zeros where the last bytes should have been
    const written = text.replaceAll('\0', '')
    if (isWhole(text)) await handle.appendFile('\n')
    else if (written.startsWith(BEGINNING) || BEGINNING.startsWith(written)) await handle.truncate(start)
    else throw new UsageError(`file: ${path} does not end in a line of metrics; name another file`)
    return
  }
  throw new UsageError(`file: ${path} does not consist of lines of metrics; name another file`)
}

/** The lines at the end of the file that carry the newest time: what was written of the last window. */
export async function lastWindow(handle: FileHandle): Promise<{ time: number; lines: Set<string> } | undefined> {
  const lines = new Set<string>()
  let time: number | undefined
  let size = 0
  for await (const { text, ended } of linesBackwards(handle)) {
    if (!ended) continue
    const lineTime = timeOf(text)
    size += text.length
    if (lineTime === undefined || (time ?? lineTime) !== lineTime || size > LONGEST_WINDOW) break
    time = lineTime
    lines.add(text)
  }
  return time === undefined ? undefined : { time, lines }
}

/** The size of a file and whether it ends within a line, which is not one that another process is just writing. */
export async function measure(handle: FileHandle): Promise<{ size: number; torn: boolean }> {
  for (;;) {
    const { size } = await handle.stat()
    const [last] = await readAt(handle, Math.max(0, size - 1), size)
    if (size === 0 || last === 10) return { size, torn: false }
    await delay(WRITING_MS)
    if ((await handle.stat()).size === size) return { size, torn: true }
  }
}

function isWhole(text: string): boolean {
  try {
    return typeof JSON.parse(text) === 'object'
  } catch {
    return false
  }
}

function timeOf(line: string): number | undefined {
  const match = /^\{"time":([0-9.e+]+),/.exec(line)
  return match === null ? undefined : Number(match[1])
}

/** The lines of a file, the last one first; what follows the last line break comes as a line that has not `ended`. Stops before a line that is far too long. */
async function* linesBackwards(handle: FileHandle): AsyncGenerator<Line> {
  let end = (await handle.stat()).size
  // the end of a line whose start is further up
  let rest: Buffer = Buffer.alloc(0)
  let ended = false
  while (end > 0) {
    const start = Math.max(0, end - BLOCK)
    const bytes = Buffer.concat([await readAt(handle, start, end), rest])
    let lineEnd = bytes.length
    while (lineEnd > 0) {
      const lineBreak = bytes.lastIndexOf(10, lineEnd - 1)
      if (lineBreak < 0) break
      yield { start: start + lineBreak + 1, text: bytes.toString('utf8', lineBreak + 1, lineEnd), ended }
      ended = true
      lineEnd = lineBreak
    }
    rest = bytes.subarray(0, lineEnd)
    if (rest.length > LONGEST_LINE) return
    end = start
  }
  yield { start: 0, text: rest.toString(), ended }
}

async function readAt(handle: FileHandle, start: number, end: number): Promise<Buffer> {
  const bytes = Buffer.alloc(end - start)
  let length = 0
  while (length < bytes.length) {
    const { bytesRead } = await handle.read(bytes, length, bytes.length - length, start + length)
    if (bytesRead === 0) break
    length += bytesRead
  }
  return bytes.subarray(0, length)
}
