import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LineStream } from '../../../gateway/listen/lines.ts'
import { MAX_LINE_BYTES } from '../../../gateway/listen/reader.ts'
import { CollectingReader, inPieces, noFaults } from './collecting.ts'

function stream(): { reader: CollectingReader; faults: ReturnType<typeof noFaults>; lines: LineStream } {
  const reader = new CollectingReader()
  const faults = noFaults()
  return { reader, faults, lines: new LineStream(reader, faults) }
}

const line = fc.oneof(
  { weight: 20, arbitrary: fc.string({ maxLength: 60 }).map((text) => text.replaceAll(/[^\x21-\x7e]/g, 'x')) },
  { weight: 1, arbitrary: fc.nat({ max: 3 }).map((off) => 'y'.repeat(MAX_LINE_BYTES - 2 + off)) },
  { weight: 1, arbitrary: fc.nat({ max: 3 }).map((more) => 'z'.repeat(70_000 * (1 + more))) },
)
const sizes = fc.array(fc.oneof(fc.nat({ max: 5 }), fc.nat({ max: 200 }), fc.nat({ max: 140_000 })), { maxLength: 40 })

describe('lines of a stream', () => {
  test('come out whole and once each, however the stream is cut, but for those over the bound', () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 30 }), sizes, fc.boolean(), (texts, cuts, isEnded) => {
        const { reader, faults, lines } = stream()
        const text = texts.join('\n') + (isEnded ? '\n' : '')
        for (const piece of inPieces(Buffer.from(text, 'latin1'), cuts)) expect(lines.push(piece)).toBe(true)
        lines.end()
        // a line break counts
        const fits = (each: string, index: number): boolean =>
          each.length + (isEnded || index < texts.length - 1 ? 1 : 0) <= MAX_LINE_BYTES
        expect(reader.lines).toEqual(texts.filter((each, index) => each !== '' && fits(each, index)))
        expect(faults).toEqual({
          ...noFaults(),
          tooLong: texts.filter((each, index) => !fits(each, index)).length,
        })
      }),
    )
  })

  test('may come byte by byte', () => {
    const { reader, lines } = stream()
    for (const byte of Buffer.from('a:1|c\nb:2|c\r\n\nc:3|c')) lines.push(Uint8Array.of(byte))
    expect(reader.packets).toEqual(['a:1|c\n', 'b:2|c\r\n', '\n'])
    lines.end()
    expect(reader.packets.at(-1)).toBe('c:3|c')
  })

  test('are handed on where they are, and only what is left over is copied', () => {
    const handed: [Uint8Array, number, number][] = []
    const lines = new LineStream(
      { packet: (bytes, start = 0, end = bytes.length) => handed.push([bytes, start, end]) },
      noFaults(),
    )
    const first = Buffer.from('a:1|c\nb:2|c\nc:')
    const second = Buffer.from('3|c\nd:4|c\n')
    lines.push(first)
    lines.push(second)
    expect(handed.map(([bytes, start, end]) => [bytes === first, bytes === second, start, end])).toEqual([
      [true, false, 0, 12],
      [false, false, 0, 6],
      [false, true, 4, 10],
    ])
  })

  test('that were cut off by a broken connection do not count, as a digit may be missing', () => {
    const { reader, faults, lines } = stream()
    lines.push(Buffer.from('a:1|c\nhits:1'))
    lines.cut()
    lines.cut()
    expect(reader.lines).toEqual(['a:1|c'])
    expect(faults).toEqual({ ...noFaults(), cut: 1 })
  })

  test('that are too long are one fault each, however much of them comes', () => {
    const { reader, faults, lines } = stream()
    for (let megabyte = 0; megabyte < 4; megabyte++) lines.push(Buffer.alloc(1 << 20, 'x'))
    lines.push(Buffer.from('\na:1|c\n'))
    lines.push(Buffer.alloc(1 << 20, 'x'))
    lines.cut()
    expect(reader.lines).toEqual(['a:1|c'])
    expect(faults).toEqual({ ...noFaults(), tooLong: 2 })
  })
})
