import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type LineIdentity, LineTable, hashWords } from '../../gateway/ingest/statsd-table.ts'

interface Entry {
  readonly name: string
  readonly tags: string
  readonly type: number
}

/** A place in some bytes, with other bytes all around, and a hash as told. */
function lay({ name, tags, type }: Entry, hash: number, filler: string): [DataView, LineIdentity] {
  const bytes = Uint8Array.from(Buffer.from(`${filler}${name}|${filler}${tags}${filler}${filler}${filler}`, 'latin1'))
  const start = filler.length
  const tagsAt = start + name.length + 1 + start
  const identity = {
    name: start,
    nameEnd: start + name.length,
    tags: tagsAt,
    tagsEnd: tagsAt + tags.length,
    type,
    hash,
  }
  return [new DataView(bytes.buffer), identity]
}

const entry: fc.Arbitrary<Entry> = fc.record({
  name: fc.stringMatching(/^[ab]{1,9}$/),
  tags: fc.stringMatching(/^[ab]{0,9}$/),
  type: fc.integer({ min: 1, max: 6 }),
})

describe('the table of lines', () => {
  test('tells all apart by bytes and type, also when every hash is the same, and wherever they stand', () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 80 }), fc.integer({ min: 1, max: 8 }), (entries, hashes) => {
        const table = new LineTable([0, 1, 1, 0, 6, 6, 0])
        const known = new Map<string, number>()
        for (const [index, item] of entries.entries()) {
          const id = JSON.stringify(item)
          const hash = (item.name.length % hashes) - 1
          const [view, identity] = lay(item, hash, 'x'.repeat(1 + (index % 5)))
          expect(table.find(view, identity)).toBe(known.get(id) ?? 0)
          if (known.has(id)) continue
          const made = table.insert(view, identity)
          const spare = table.ints[table.spareOf(made)]
          known.set(id, made)
          const facts = [table.type(made), table.slot(made), table.record(known.size - 1), spare]
          expect(facts).toEqual([item.type, known.size - 1, made, 0])
          // what belongs to one must be no part of another
          table.ints[table.spareOf(made)] = index
          if (item.type === 1) table.doubles[table.doublesOf(made)] = index
        }
        expect(table.size).toBe(known.size)
      }),
      { numRuns: 2_000 },
    )
  })

  test('keeps its numbers while it grows, and what is left of it when it is pruned', () => {
    const table = new LineTable([0, 1, 1, 0, 6, 6, 0])
    const count = 20_000
    const layOut = (index: number): [DataView, LineIdentity] => {
      const item = { name: `shop.requests.${index}`, tags: index % 3 === 0 ? `k:${index}` : '', type: 1 + (index % 6) }
      const [view, identity] = lay(item, 0, 'xx')
      return [view, { ...identity, hash: hashWords(view, identity.name, identity.nameEnd, 1) }]
    }
    for (let index = 0; index < count; index++) {
      const record = table.insert(...layOut(index))
      table.ints[table.spareOf(record)] = index
      if (index % 6 > 2 && index % 6 < 5) table.doubles[table.doublesOf(record) + 5] = index / 7
      if (index % 6 < 2) table.doubles[table.doublesOf(record)] = index / 7
    }
    // its spare integer and its last double, or that none is there
    const numbers = (index: number): unknown => {
      const record = table.find(...layOut(index))
      if (record === 0) return undefined
      const type = index % 6
      const at = table.doublesOf(record) + (type < 2 ? 0 : 5)
      return [table.ints[table.spareOf(record)], type === 2 || type === 5 ? index / 7 : table.doubles[at]]
    }
    const all = Array.from({ length: count }, (_, index) => index)
    expect(all.map(numbers)).toEqual(all.map((index) => [index, index / 7]))
    const bytes = table.bytes
    const kept = table.prune((slot) => slot % 5 === 0)
    expect(kept).toEqual(Array.from({ length: count / 5 }, (_, slot) => slot * 5))
    expect(table.size).toBe(count / 5)
    expect(table.bytes).toBeLessThan(bytes / 4)
    expect(all.map(numbers)).toEqual(all.map((index) => (index % 5 === 0 ? [index, index / 7] : undefined)))
    table.clear()
    expect(table.find(...layOut(0))).toBe(0)
  })
})

describe('the hash of words', () => {
  test('is of these bytes alone and tells apart what differs anywhere', () => {
    const hash = (text: string, filler: string): number => {
      const bytes = Uint8Array.from(Buffer.from(`${filler}${text}${filler}xxx`, 'latin1'))
      return hashWords(new DataView(bytes.buffer), filler.length, filler.length + text.length, 7)
    }
    expect(hash('shop.requests', 'a')).toBe(hash('shop.requests', 'bcd'))
    const names = Array.from({ length: 100_000 }, (_, index) => `shop.web.requests.s${index}`)
    // a good hash would have one or two of these collide
    expect(new Set(names.map((name) => hash(name, 'x'))).size).toBeGreaterThan(99_900)
  })
})
