import { afterEach, describe, expect, it } from 'vitest'
import { assign } from '../../../backends/worker/assign.ts'
import { Ownership } from '../../../backends/worker/ownership.ts'
import { UsageError } from '../../../client/errors.ts'
import { SHARDS } from '../../../client/wire/series.ts'
import { until } from '../../until.ts'
import { KeptLog } from './collecting.ts'

const log = new KeptLog()
const running: Member[] = []

afterEach(async () => {
  for (const member of running.splice(0)) {
    member.holding = undefined
    await member.ownership.stop()
    await member.ownership.end()
  }
  log.lines.length = 0
})

/** What workers know of each other, without a server. */
class Circle {
  readonly live = new Set<string>()
  readonly owners = new Map<number, string>()
}

/** A worker that takes and gives, and does nothing else. */
class Member {
  readonly id: string
  readonly leaseMs = 200
  readonly circle: Circle
  readonly held = new Set<number>()
  expected: readonly number[] = []
  /** What beats throw. */
  trouble: Error | undefined
  beats = 0
  /** How long an answer to a beat takes. */
  answerMs = 0
  /** What handing over waits for. */
  holding: Promise<void> | undefined
  /** Shards that cannot be taken, and how often that was tried. */
  readonly broken = new Map<number, number>()
  readonly ownership: Ownership

  constructor(circle: Circle, id: string) {
    this.circle = circle
    this.id = id
    this.ownership = new Ownership({
      state: this,
      log,
      held: () => this.held,
      expect: (shards) => void (this.expected = shards),
      take: (shard) => this.#take(shard),
      handOver: (shard) => this.#handOver(shard),
    })
    running.push(this)
  }

  async beat(): Promise<readonly string[]> {
    this.beats++
    if (this.trouble !== undefined) throw this.trouble
    if (this.answerMs > 0) await new Promise((resolve) => setTimeout(resolve, this.answerMs))
    this.circle.live.add(this.id)
    return [...this.circle.live]
  }

  async leave(): Promise<readonly string[]> {
    this.circle.live.delete(this.id)
    return [...this.circle.live]
  }

  async #take(shard: number): Promise<boolean> {
    const tries = this.broken.get(shard)
    if (tries !== undefined) {
      this.broken.set(shard, tries + 1)
      throw new Error('the snapshot is gone')
    }
    if ((this.circle.owners.get(shard) ?? this.id) !== this.id) return false
    this.circle.owners.set(shard, this.id)
    this.held.add(shard)
    return true
  }

  async #handOver(shard: number): Promise<void> {
    await this.holding
    this.held.delete(shard)
    this.circle.owners.delete(shard)
  }

  /** Whether it has what all would assign to it. */
  get isSettled(): boolean {
    const wanted = assign([...this.circle.live], SHARDS).get(this.id) ?? []
    return wanted.length === this.held.size && wanted.every((shard) => this.held.has(shard))
  }
}

async function join(circle: Circle, id: string): Promise<Member> {
  const member = new Member(circle, id)
  await member.ownership.start()
  return member
}

describe('ownership', () => {
  it('has the shards of one that is gone also where every answer takes most of a lease', async () => {
    const circle = new Circle()
    const a = await join(circle, 'a')
    const b = await join(circle, 'b')
    await until(() => a.isSettled && b.isSettled)
    a.answerMs = a.leaseMs * 0.7
    await until(() => a.beats > 5, 'answers take long')
    await b.ownership.end()
    await b.ownership.stop()
    circle.live.delete('b')
    for (const [shard, owner] of circle.owners) if (owner === 'b') circle.owners.delete(shard)
    await until(() => a.held.size === SHARDS)
    expect(a.ownership.others).toBe(0)
  })

  it('has all shards while alone, and its share as others come and go', async () => {
    const circle = new Circle()
    const a = await join(circle, 'a')
    await until(() => a.held.size === SHARDS)
    const b = await join(circle, 'b')
    const c = await join(circle, 'c')
    await until(() => [a, b, c].every((member) => member.isSettled))
    expect(a.ownership.others).toBe(2)
    circle.live.delete('b')
    await b.ownership.stop()
    await b.ownership.end()
    for (const shard of b.held) circle.owners.delete(shard)
    circle.live.delete('b')
    await until(() => a.isSettled && c.isSettled)
    expect(a.held.size + c.held.size).toBe(SHARDS)
  })

  it('is not kept from its other shards by one that cannot be taken, and tries that again', async () => {
    const circle = new Circle()
    const a = new Member(circle, 'a')
    a.broken.set(0, 0)
    await a.ownership.start()
    await until(() => a.held.size === SHARDS - 1)
    expect(log.lines).toContain('warn cannot take a shard, will retry')
    a.broken.delete(0)
    await until(() => a.held.size === SHARDS)
    expect(a.ownership.others).toBe(0)
  })

  it('goes on taking while one that it hands over is held up', async () => {
    const circle = new Circle()
    const a = await join(circle, 'a')
    await until(() => a.held.size === SHARDS)
    let release = (): void => {}
    a.holding = new Promise((resolve) => (release = resolve))
    const b = await join(circle, 'b')
    await until(() => a.ownership.others === 1)
    // what comes of them it receives already
    await until(() => b.expected.length === SHARDS / 2)
    // lost to nobody in particular, and wanted again
    const lost = assign(['a', 'b'], SHARDS).get('a')?.[0] as number
    a.held.delete(lost)
    circle.owners.delete(lost)
    a.ownership.look()
    await until(() => a.held.has(lost))
    expect(b.held.size).toBe(0)
    release()
    await until(() => a.isSettled && b.isSettled)
  })

  it('takes a shard that it lost again once it is free', async () => {
    const circle = new Circle()
    const a = await join(circle, 'a')
    await until(() => a.held.size === SHARDS)
    circle.owners.set(3, 'stranger')
    a.held.delete(3)
    a.ownership.look()
    const { beats } = a
    await until(() => a.beats > beats + 3)
    expect(a.held.has(3)).toBe(false)
    circle.owners.delete(3)
    await until(() => a.held.has(3))
  })

  it('leaves others their shards for a lease after a time without answers, as they had none either', async () => {
    const circle = new Circle()
    const a = await join(circle, 'a')
    const b = await join(circle, 'b')
    await until(() => a.isSettled && b.isSettled && a.held.size === SHARDS / 2)
    a.trouble = b.trouble = new Error('the server is away')
    const failed = a.beats
    await until(() => a.beats > failed + 12)
    // when it is back, nobody has said anything for longer than a lease, and a is the first to
    circle.live.clear()
    circle.owners.clear()
    for (const shard of a.held) circle.owners.set(shard, 'a')
    a.trouble = undefined
    await until(() => log.lines.includes('info the state is reached again'))
    const answered = a.beats
    await until(() => a.beats > answered + 3)
    expect(a.held.size).toBe(SHARDS / 2)
    // one that does not come back is missed in the end
    await until(() => a.held.size === SHARDS)
  })

  it('asks nothing of a server that does not answer beats', async () => {
    const circle = new Circle()
    const a = await join(circle, 'a')
    await until(() => a.held.size === SHARDS)
    a.trouble = new Error('the server is away')
    await until(() => log.lines.includes('warn cannot renew its leases, will retry'))
    a.broken.set(5, 0)
    a.held.delete(5)
    const { beats } = a
    await until(() => a.beats > beats + 5)
    expect(a.broken.get(5)).toBe(0)
    expect(log.lines.filter((line) => line.includes('cannot renew'))).toHaveLength(1)
  })

  it('tells one that leaves whether others go on, and of one that comes later', async () => {
    const circle = new Circle()
    const a = await join(circle, 'a')
    const b = await join(circle, 'b')
    await until(() => a.isSettled && b.isSettled)
    await b.ownership.stop()
    expect(await b.ownership.leave()).toBe(true)
    expect(await a.ownership.leave()).toBe(false)
    // what the other gave up when it left, nobody else would take
    await b.ownership.stop()
    for (const shard of b.held) circle.owners.delete(shard)
    await until(() => a.held.size === SHARDS)
    let joined = false
    const waiting = a.ownership.joined().then(() => (joined = true))
    expect(joined).toBe(false)
    circle.live.add('c')
    await waiting
    await a.ownership.stop()
    // it kept what it had
    expect(a.held.size).toBe(SHARDS)
  })

  it('that could not start says why, and is alone', async () => {
    const a = new Member(new Circle(), 'a')
    a.trouble = new UsageError('group g: workers that are running have flush 10s, this one 5s')
    await expect(a.ownership.start()).rejects.toThrow('this one 5s')
    await a.ownership.stop()
    expect(await a.ownership.leave()).toBe(false)
  })

  it('starts once the server answers, unless it is told to stop before', async () => {
    const circle = new Circle()
    const [a, b] = [new Member(circle, 'a'), new Member(circle, 'b')]
    const starting = [a, b].map((member) => {
      member.trouble = new Error('the server is away')
      return member.ownership.start()
    })
    await until(() => a.beats > 2 && b.beats > 2)
    b.ownership.giveUpStart()
    await expect(starting[1]).rejects.toThrow('the server is away')
    expect(a.held.size).toBe(0)
    a.trouble = undefined
    await starting[0]
    await until(() => a.held.size === SHARDS)
  })
})
