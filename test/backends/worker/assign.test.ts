import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assign } from '../../../backends/worker/assign.ts'
import { SHARDS } from '../../../client/wire/series.ts'

const names = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 40 })

/** The owner of each shard. */
function owners(assigned: ReadonlyMap<string, readonly number[]>): Map<number, string> {
  return new Map([...assigned].flatMap(([worker, shards]) => shards.map((shard): [number, string] => [shard, worker])))
}

/** Shards that have another owner in one of two than in the other. */
function moved(before: ReadonlyMap<number, string>, after: ReadonlyMap<number, string>): number {
  return [...after].filter(([shard, worker]) => before.get(shard) !== worker).length
}

describe('shards are assigned', () => {
  it('each to one worker, and to none more than one above any other', () => {
    fc.assert(
      fc.property(names, fc.integer({ min: 1, max: 64 }), (workers, shards) => {
        const assigned = assign(workers, shards)
        expect([...assigned.keys()].sort()).toEqual(workers.toSorted())
        const all = [...assigned.values()].flat()
        expect(all.toSorted((a, b) => a - b)).toEqual(Array.from({ length: shards }, (_, shard) => shard))
        const loads = [...assigned.values()].map((own) => own.length)
        expect(Math.max(...loads)).toBe(Math.ceil(shards / workers.length))
        expect(Math.min(...loads)).toBe(Math.floor(shards / workers.length))
      }),
    )
  })

  it('alike by everyone who knows the same workers, in whatever order and however often', () => {
    fc.assert(
      fc.property(names, fc.infiniteStream(fc.nat()), (workers, numbers) => {
        const shuffled = [...workers, ...workers]
          .map((worker) => ({ worker, at: numbers.next().value as number }))
          .sort((a, b) => a.at - b.at)
          .map(({ worker }) => worker)
        expect(owners(assign(shuffled, SHARDS))).toEqual(owners(assign(workers, SHARDS)))
      }),
    )
  })

  it('with few moves when a worker comes or goes', () => {
    const made = (count: number, seed: number): string[] =>
      Array.from({ length: count }, (_, index) => `host-${seed}-${index}`)
    let moves = 0
    let modulo = 0
    for (let count = 1; count <= 8; count++) {
      for (let seed = 0; seed < 50; seed++) {
        const workers = made(count + 1, seed)
        const few = owners(assign(workers.slice(1), SHARDS))
        const more = owners(assign(workers, SHARDS))
        const came = moved(few, more)
        // all that the new one has did move
        expect(came).toBeGreaterThanOrEqual(Math.floor(SHARDS / (count + 1)))
        expect(came).toBeLessThanOrEqual(SHARDS / 2)
        expect(moved(more, few)).toBe(came)
        moves += came
        modulo += Array.from({ length: SHARDS }, (_, shard) => shard).filter(
          (shard) => shard % count !== shard % (count + 1),
        ).length
      }
    }
    expect(moves).toBeLessThan(modulo * 0.45)
  })

  it('to nobody when nobody is there', () => {
    expect(assign([], SHARDS).size).toBe(0)
  })
})
