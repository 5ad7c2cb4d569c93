import type { Faults, LineReader } from '../../../gateway/listen/reader.ts'

/** A reader that keeps what it is given. */
export class CollectingReader implements LineReader {
  readonly packets: string[] = []

  packet(bytes: Uint8Array, start = 0, end: number = bytes.length): void {
    this.packets.push(Buffer.from(bytes.subarray(start, end)).toString('latin1'))
  }

  get lines(): string[] {
    return this.packets.flatMap((packet) => packet.split('\n')).filter((line) => line !== '')
  }

  /** The sum of counts `name:value|c`. */
  sum(name: string): number {
    return this.lines
      .map((line) => new RegExp(`^${name}:(\\d+)\\|c$`).exec(line)?.[1])
      .reduce((sum, value) => sum + Number(value ?? 0), 0)
  }
}

export function noFaults(): Faults {
  return { tooLong: 0, cut: 0, unframed: 0 }
}

/** The bytes in pieces of these sizes, the last of which takes the rest. */
export function inPieces(bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = []
  let offset = 0
  for (const size of sizes) {
    pieces.push(bytes.slice(offset, offset + size))
    offset += size
  }
  pieces.push(bytes.slice(offset))
  return pieces
}
