import { describe, expect, it } from 'vitest'
import { encodeKey } from '../../../client/wire/series.ts'
import { SeriesTable } from '../../../client/wire/table.ts'
import { below, seeded } from '../random.ts'

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

/** Finds or inserts `count` draws in a table and a Map, and expects both to agree all along. */
function expectAsMap(
  count: number,
  draw: (index: number) => { type: number; hash: number; text: string },
): SeriesTable {
  const table = new SeriesTable()
  const model = new Map<string, number>()
  for (let index = 0; index < count; index++) {
    const { type, hash, text } = draw(index)
    const id = `${type} ${hash} ${text}`
    // somewhere within other bytes, as in a frame
    const bytes = utf8(`<<${text}>>`)
    const found = table.find(type, hash, bytes, 2, bytes.length - 2)
    expect(found).toBe(model.get(id) ?? -1)
    if (found >= 0) continue
    model.set(id, table.size)
    expect(table.insert(type, hash, bytes, 2, bytes.length - 2)).toBe(model.size - 1)
  }
  expect(table.size).toBe(model.size)
  for (const [id, slot] of model) {
    expect(`${table.type(slot)} ${table.hash(slot)} ${new TextDecoder().decode(table.key(slot))}`).toBe(id)
  }
  return table
}

describe('SeriesTable', () => {
  it('holds what a Map of keys holds, through every growth', () => {
    const random = seeded(1)
    const table = expectAsMap(30_000, () => {
      const text = `name.${below(random, 8_000)}\0web\0`
      return { type: 1 + below(random, 2), hash: encodeKey(text).hash, text }
    })
    expect(table.size).toBeGreaterThan(10_000)
  })

  it('lets key bytes decide where hashes are equal', () => {
    const random = seeded(2)
    expectAsMap(3_000, () => ({ type: 1, hash: 0xffffffff, text: `n${below(random, 400)}` }))
    expectAsMap(3_000, (index) => ({ type: 1 + (index % 6), hash: 0, text: 'x'.repeat(below(random, 60)) }))
  })

  it('keeps series apart that differ in type, hash or length alone', () => {
    const table = new SeriesTable()
    const bytes = utf8('aa')
    table.insert(1, 7, bytes, 0, 2)
    expect(table.find(1, 7, bytes, 0, 2)).toBe(0)
    expect(table.find(2, 7, bytes, 0, 2)).toBe(-1)
    expect(table.find(1, 8, bytes, 0, 2)).toBe(-1)
    expect(table.find(1, 7, bytes, 0, 1)).toBe(-1)
  })

  it('takes less than 100 bytes for a series of a common length', () => {
    const table = new SeriesTable()
    for (let index = 0; index < 50_000; index++) {
      const { bytes, hash } = encodeKey(`http.requests\0web-1\0id\0${index}\0`)
      table.insert(1, hash, bytes, 0, bytes.length)
    }
    expect(table.memory / table.size).toBeLessThan(100)
  })
})
