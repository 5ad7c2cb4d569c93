import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LinesOrPackets } from '../../../gateway/listen/packets.ts'
import { MAX_LINE_BYTES } from '../../../gateway/listen/reader.ts'
import { CollectingReader, inPieces, noFaults } from './collecting.ts'

function stream(): { reader: CollectingReader; faults: ReturnType<typeof noFaults>; either: LinesOrPackets } {
  const reader = new CollectingReader()
  const faults = noFaults()
  return { reader, faults, either: new LinesOrPackets(reader, faults) }
}

/** As Datadog's clients send it. */
function framed(packet: string): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(packet.length)
  return Buffer.concat([length, Buffer.from(packet, 'latin1')])
}

const packet = fc.oneof(
  { weight: 20, arbitrary: fc.string({ maxLength: 300, unit: 'binary-ascii' }) },
  { weight: 1, arbitrary: fc.nat({ max: 3 }).map((off) => 'y'.repeat(MAX_LINE_BYTES - 1 + off)) },
  { weight: 1, arbitrary: fc.constant('z'.repeat(300_000)) },
)
const sizes = fc.array(fc.oneof(fc.nat({ max: 5 }), fc.nat({ max: 200 }), fc.nat({ max: 140_000 })), { maxLength: 40 })

describe('a Unix stream', () => {
  test('of packets behind their lengths gives each once, however it is cut, but for those over the bound', () => {
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 20, minLength: 1 }), sizes, (packets, cuts) => {
        const { reader, faults, either } = stream()
        for (const piece of inPieces(Buffer.concat(packets.map(framed)), cuts)) expect(either.push(piece)).toBe(true)
        either.end()
        expect(reader.packets).toEqual(packets.filter(({ length }) => length > 0 && length <= MAX_LINE_BYTES))
        expect(faults).toEqual({
          ...noFaults(),
          tooLong: packets.filter(({ length }) => length > MAX_LINE_BYTES).length,
        })
      }),
    )
  })

  test('of lines is told from one of packets by its first four bytes, one at a time too', () => {
    const lines = stream()
    for (const byte of Buffer.from('a:1|c\nb:2|c\n')) expect(lines.either.push(Uint8Array.of(byte))).toBe(true)
    expect(lines.reader.lines).toEqual(['a:1|c', 'b:2|c'])
    const packets = stream()
    for (const byte of framed('a:1|c\nb:2|c')) expect(packets.either.push(Uint8Array.of(byte))).toBe(true)
    expect(packets.reader.packets).toEqual(['a:1|c\nb:2|c'])
    // 0x0a0a bytes: a length that begins like blank lines
    const blank = stream()
    blank.either.push(framed('x'.repeat(0x0a0a)))
    expect(blank.reader.packets).toEqual(['x'.repeat(0x0a0a)])
    const empty = stream()
    empty.either.push(Buffer.from('\n\n\n\na:1|c\n'))
    expect(empty.reader.lines).toEqual(['a:1|c'])
  })

  test('that ends before four bytes have come is one of lines', () => {
    const { reader, faults, either } = stream()
    either.push(Buffer.from('a:'))
    either.end()
    expect(reader.packets).toEqual(['a:'])
    const broken = stream()
    broken.either.push(Buffer.from('a:'))
    broken.either.cut()
    expect([broken.reader.packets, broken.faults.cut, faults.cut]).toEqual([[], 1, 0])
  })

  test('that breaks off within a packet leaves it out', () => {
    const { reader, faults, either } = stream()
    either.push(Buffer.concat([framed('a:1|c'), framed('b:2|c').subarray(0, 6)]))
    either.end()
    expect(reader.packets).toEqual(['a:1|c'])
    expect(faults).toEqual({ ...noFaults(), cut: 1 })
  })

  test('is given up when letters stand where a length should', () => {
    const { reader, faults, either } = stream()
    expect(either.push(framed('a:1|c'))).toBe(true)
    expect(either.push(Buffer.from('b:2|c\n'))).toBe(false)
    either.cut()
    expect(reader.packets).toEqual(['a:1|c'])
    expect(faults).toEqual({ ...noFaults(), unframed: 1 })
  })
})
