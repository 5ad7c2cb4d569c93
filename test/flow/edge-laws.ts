import { expect } from 'vitest'
import type { ZibratoStats } from '../../client/stats.ts'
import { until } from '../until.ts'
import type { FaultyGateway, Faults } from './faulty-gateway.ts'
import { type IsolateOptions, Isolates, lostBy } from './isolates.ts'
import type { Playground } from './processes.ts'

/** `ZIBRATO_LONG=1` asks for the long form. */
const isLong = process.env['ZIBRATO_LONG'] === '1'
const REQUESTS = isLong ? 10_000 : 1_000
export const OUTAGE_MS: number = isLong ? 5_000 : 600
/** Of a gateway. */
export const FAULTS: Faults = { unavailable: 0.1, reset: 0.05 }
/** Of a test. */
export const LAW_MS: number = isLong ? 900_000 : 400_000
/** Isolates that failed over and over try again after 30 s; the machine may have other things to do. */
const SETTLE_MS = 240_000
const CONCURRENCY = 200
/** Requests at once when all have been made, and something still goes wrong. */
const AFTERWARDS = 10
const SHOPS = 16
const KIOSKS = 4
/** Instances of workerd that isolates are spread over where some are killed; every other one is. */
const GROUPS = 4

/** Has room for everything. */
const SHOP: IsolateOptions = { source: 'shop', metrics: true }
/** Makes a frame of each order, and of nothing else but its reports; has room for some 20 of them. */
const KIOSK: IsolateOptions = { source: 'kiosk', metrics: false, flushInterval: 0, waitingBytes: 1_000 }
/** Requests to each kiosk before its gateway's outage, of one order: it has room for them. */
const KIOSK_BEFORE = 5
/** Orders in one request to each during it: it has no room for them. */
const KIOSK_MEANWHILE = 40

/** What is between isolates and the file at which everything arrives. */
export interface Way {
  readonly ground: Playground
  /** What isolates post to. */
  readonly door: FaultyGateway
  /** Orders of the source `shop` that others than isolates count. */
  readonly others?: number
  /** Does what else goes wrong; requests are made until it is done. `outage` resolves when that of the door is over. */
  disturb?(load: Load, outage: Promise<void>): Promise<void>
  /** Ends it when all that came through the door has arrived. */
  settle(): Promise<void>
}

/** Requests, {@link CONCURRENCY} at once. */
export class Load {
  started = 0
  readonly #count: number

  constructor(count: number) {
    this.#count = count
  }

  /** Makes so many at least, and a few at once on until `troubles` are over. */
  async run(call: () => Promise<unknown>, troubles: Promise<unknown>): Promise<void> {
    let isOver = false
    const over = troubles.finally(() => (isOver = true))
    const runs = Array.from({ length: CONCURRENCY }, async (_, index) => {
      while (this.started < this.#count || (index < AFTERWARDS && !isOver)) {
        this.started++
        await call()
      }
    })
    await Promise.all([over, ...runs])
  }

  /** Resolves once that part of them has begun. */
  reached(part: number): Promise<void> {
    return until(() => this.started >= this.#count * part, `${part} of all requests have begun`, LAW_MS)
  }
}

/**
 * Nothing is lost but what clients report, and that is what is missing; nothing is doubled.
 *
 * What clients report are frames. A kiosk's are orders, one each, and reports. Of those none is among the lost: it gives up
 * nothing but what it was asked for while the door was shut, and so has nothing to report before that is over. Nor has any of
 * what it gives up arrived.
 */
export async function checkReports(way: Way): Promise<void> {
  const { ground, door, others = 0 } = way
  await using shops = await Isolates.start(door.url, Array<IsolateOptions>(SHOPS).fill(SHOP))
  await using kiosks = await Isolates.start(door.url, Array<IsolateOptions>(KIOSKS).fill(KIOSK))
  const attempted = { shop: 0, kiosk: 0 }
  let turns = 0
  const order = async (): Promise<void> => {
    const turn = turns++
    const isKiosk = turn < KIOSKS * KIOSK_BEFORE
    attempted[isKiosk ? 'kiosk' : 'shop']++
    const isolates = isKiosk ? kiosks : shops
    expect(await isolates.order(turn % isolates.length)).toBe('ok')
  }
  const askKiosks = async (count: number): Promise<void> => {
    for (let kiosk = 0; kiosk < KIOSKS; kiosk++) {
      attempted.kiosk += count
      expect(await kiosks.order(kiosk, count)).toBe('ok')
    }
  }
  const untilKiosks = async (what: string, holds: (stats: ZibratoStats, kiosk: number) => boolean): Promise<void> =>
    until(async () => (await kiosks.stats()).every(holds), `kiosks ${what}`, SETTLE_MS)
  const overrunKiosks = async (): Promise<void> => {
    const before = await kiosks.stats()
    await askKiosks(1)
    // by then the last answer of before the outage was heard
    await untilKiosks('try again', ({ replayed }, kiosk) => replayed > (before[kiosk]?.replayed ?? 0))
    await askKiosks(KIOSK_MEANWHILE)
    const asked = Array<number>(KIOSKS).fill(1 + KIOSK_MEANWHILE)
    const keepsOrGivesUp = async (): Promise<boolean> => {
      const all = await kiosks.stats()
      for (const [kiosk, { unknown }] of all.entries()) {
        if (unknown > 0) continue
        // what had been tried was under way, and so was not given up for what came: for this it may be
        asked[kiosk] = (asked[kiosk] ?? 0) + 1
        attempted.kiosk++
        expect(await kiosks.order(kiosk)).toBe('ok')
      }
      // and nothing is under way
      return all.every((stats, kiosk) => stats.unknown > 0 && stats.waiting + lostBy([stats]).frames === asked[kiosk])
    }
    await until(keepsOrGivesUp, 'kiosks give up what they have no room for', SETTLE_MS)
  }
  const load = new Load(REQUESTS)
  const cut = async (): Promise<void> => {
    await load.reached(0.3)
    await until(() => door.acknowledged('orders', 'kiosk') === KIOSKS * KIOSK_BEFORE, 'kiosks have posted', SETTLE_MS)
    await door.outage(OUTAGE_MS, overrunKiosks)
  }
  const outage = cut()
  await load.run(order, Promise.all([outage, way.disturb?.(load, outage)]))

  await until(() => hasPosted(door, attempted.shop, [shops]), 'shops have posted all', SETTLE_MS)
  let lost = lostBy([])
  await until(
    async () => {
      lost = lostBy(await kiosks.stats())
      return door.acknowledged('orders', 'kiosk') + lost.frames === attempted.kiosk
    },
    'what kiosks have not posted they have given up',
    SETTLE_MS,
  )
  await until(() => ground.sum('zibrato.dropped', 'kiosk') === lost.frames, 'what was given up is reported', SETTLE_MS)
  expect(lostBy(await shops.stats())).toEqual({ unknown: 0, dropped: 0, frames: 0 })
  await way.settle()

  expect(ground.sum('orders', 'shop')).toBe(attempted.shop + others)
  expect(ground.sum('work')).toBe(attempted.shop)
  expect(ground.sum('worker.cold_starts')).toBe(SHOPS)
  expect(ground.sum('worker.errors')).toBe(0)
  const missing = attempted.kiosk - ground.sum('orders', 'kiosk')
  const reported = ground.sum('zibrato.dropped', 'kiosk')
  const { posts } = door
  tell({ requests: turns, attempted, missing, reported, lost, posts })
  expect(missing).toBe(reported)
  expect(reported).toBe(lost.frames)
  expect(missing).toBeGreaterThan(0)
  for (const count of [lost.unknown, lost.dropped]) expect(count).toBeGreaterThan(0)
  expect(Math.min(posts.answered, posts.unavailable, posts.reset)).toBeGreaterThan(0)
}

/**
 * Isolates that are killed lose what was not acknowledged at the most: acknowledged <= arrived <= attempted. Those beside them
 * lose nothing.
 */
export async function checkKills(way: Way): Promise<void> {
  const { ground, door } = way
  const each = (SHOPS + KIOSKS) / GROUPS
  const sources = Array.from({ length: GROUPS }, (_, group) => (group % 2 === 0 ? 'doomed' : 'shop'))
  const groups = await Promise.all(
    sources.map((source) => Isolates.start(door.url, Array<IsolateOptions>(each).fill({ ...SHOP, source }))),
  )
  const attempted = { shop: 0, doomed: 0 }
  let turns = 0
  const order = async (): Promise<void> => {
    const turn = turns++
    const source = sources[turn % GROUPS] as keyof typeof attempted
    attempted[source]++
    const answer = groups[turn % GROUPS]?.order(Math.floor(turn / GROUPS) % each)
    if (source === 'shop') expect(await answer).toBe('ok')
    // those to isolates that are gone fail, or were cut off
    else await answer?.catch(() => '')
  }
  try {
    const load = new Load(REQUESTS)
    const outage = load.reached(0.5).then(() => door.outage(OUTAGE_MS))
    const kill = async (group: number, part: number): Promise<void> => {
      const enough = REQUESTS * part
      await until(() => door.acknowledged('orders', 'doomed') >= enough, `${enough} were acknowledged`, LAW_MS)
      await groups[group]?.[Symbol.asyncDispose]()
    }
    const kills = [kill(0, 0.05), kill(2, 0.1)]
    await load.run(order, Promise.all([outage, ...kills, way.disturb?.(load, outage)]))
    const alive = groups.filter((_, group) => sources[group] === 'shop')
    await until(() => hasPosted(door, attempted.shop, alive), 'those alive have posted all', SETTLE_MS)
  } finally {
    await Promise.all(groups.map((group) => group[Symbol.asyncDispose]()))
  }
  await way.settle()
  const arrived = { shop: ground.sum('orders', 'shop'), doomed: ground.sum('orders', 'doomed') }
  const acknowledged = door.acknowledged('orders', 'doomed')
  tell({ requests: turns, attempted, acknowledged, arrived, posts: door.posts })
  expect(arrived.shop).toBe(attempted.shop)
  expect(acknowledged).toBeGreaterThan(0)
  expect(acknowledged).toBeLessThanOrEqual(arrived.doomed)
  expect(arrived.doomed).toBeLessThanOrEqual(attempted.doomed)
}

/** Whether so many orders of shops were acknowledged. What is left over goes out with the next request: so asks them. */
async function hasPosted(door: FaultyGateway, orders: number, shops: readonly Isolates[]): Promise<boolean> {
  if (door.acknowledged('orders', 'shop') === orders) return true
  await Promise.all(shops.map((isolates) => isolates.stats()))
  return false
}

/** In the long form somebody looks on. */
function tell(figures: object): void {
  if (isLong) console.log(JSON.stringify(figures))
}
