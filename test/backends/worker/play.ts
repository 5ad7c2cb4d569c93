import fc from 'fast-check'
import { encodeBundle } from '../../../client/wire/bundle.ts'
import { type EncodedKey, TYPES, type Type } from '../../../client/wire/series.ts'
import { aggregateOf, counter, frame, keyIn } from './frames.ts'
import { type Measured, Model, differences } from './model.ts'
import { Owner, SHARD, T0, plain } from './owner.ts'

const wide: Record<string, string> = Object.fromEntries(
  Array.from({ length: 32 }, (_, index) => [`tag${index}`, 'x'.repeat(255)]),
)
// the wide ones make snapshots large, so that full ones come about
export const KEYS: readonly EncodedKey[] = [
  keyIn(SHARD, 'one'),
  keyIn(SHARD, 'two', { region: 'eu' }),
  keyIn(SHARD, 'wide', wide),
  keyIn(SHARD, 'wider', wide),
]
const LEVELS = ['info', 'crit']

/** A frame that lies about a hash. */
function lying(publisher: number, seq: number): Uint8Array {
  const key = KEYS[0] as EncodedKey
  return frame({ publisher, seq }, counter({ ...keyIn(SHARD, 'liar'), hash: key.hash }, 1))
}

interface EntryStep {
  readonly type: Type
  readonly key: number
  readonly values: number[]
}

interface FrameStep {
  readonly kind: 'frame'
  readonly publisher: number
  readonly level: number
  readonly entries: EntryStep[]
  /** Steps that it comes late by. */
  readonly heldBack: number
}

export type Step =
  | FrameStep
  | { readonly kind: 'again'; readonly which: number }
  | { readonly kind: 'bad'; readonly how: number }
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'stop' | 'restart' }

const entry: fc.Arbitrary<EntryStep> = fc.record({
  type: fc.constantFrom<Type>(...TYPES.slice(1).map((type) => type as Type)),
  key: fc.nat(KEYS.length - 1),
  values: fc.oneof(
    { weight: 9, arbitrary: fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 1, maxLength: 5 }) },
    { weight: 1, arbitrary: fc.array(fc.integer({ min: 0, max: 1e6 }), { minLength: 30, maxLength: 70 }) },
  ),
})

const action: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('frame' as const),
      publisher: fc.nat(2),
      level: fc.nat(1),
      entries: fc.array(entry, { minLength: 1, maxLength: 4 }),
      heldBack: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 4 })),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('again' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('bad' as const), how: fc.nat(4) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(14_000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('stop' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
)

export const steps: fc.Arbitrary<Step[]> = fc.array(action, { minLength: 5, maxLength: 40, size: 'max' })

interface Made {
  readonly bytes: Uint8Array
  readonly measured: readonly Measured[]
}

/** An owner, the model of it, and one restored from what it committed, under the same input. */
export class Play {
  readonly owner: Owner = new Owner()
  readonly #model = new Model(10_000)
  readonly #expected: { endMs: number; rollups: ReturnType<Model['commit']> }[] = []
  twins: { owner: Owner; from: number }[] = []
  readonly #seqs = new Map<string, number>()
  readonly #due: { made: Made; after: number }[] = []
  readonly #taken: Made[] = []
  merged = 0
  replays = 0
  invalid = 0

  play(step: Step): void {
    if (step.kind === 'frame') this.#frame(step)
    else if (step.kind === 'again') this.#again(step.which)
    else if (step.kind === 'bad') this.#bad(step.how)
    else if (step.kind === 'pass') this.#each((owner) => owner.pass(step.ms))
    else if (step.kind === 'stop') this.#each((owner) => owner.commit())
    else this.restart()
    for (const held of this.#due.splice(0)) {
      if (held.after === 0) this.#take(held.made)
      else this.#due.push({ made: held.made, after: held.after - 1 })
    }
  }

  finish(): void {
    for (const { made } of this.#due.splice(0)) this.#take(made)
    this.#each((owner) => owner.commit())
  }

  /** One more owner takes over, and lives beside those before it. */
  restart(): void {
    if (this.twins.length < 3) this.twins.push({ owner: this.owner.restored(), from: this.owner.commits.length })
  }

  /** What came of it, and what should have. */
  async outcome(): Promise<{ got: object; wanted: object }> {
    const windows = await this.owner.windows()
    const { figures, lost, missing } = this.owner.shard
    const twins = this.twins.map(async ({ owner }) => ({ windows: plain(await owner.windows()), kinds: owner.kinds }))
    const wantedTwins = this.twins.map(async ({ from }) => ({
      windows: plain(await this.owner.windows(from)),
      kinds: this.owner.kinds.slice(from),
    }))
    const { merged, replays, invalid } = this
    return {
      got: {
        ends: windows.map(({ end }) => end),
        differences: windows.flatMap(({ rollups }, index) =>
          differences(rollups, this.#expected[index]?.rollups ?? new Map()),
        ),
        figures: { ...figures, lost, missing },
        twins: await Promise.all(twins),
      },
      wanted: {
        ends: this.#expected.map(({ endMs }) => endMs / 1000),
        differences: [],
        figures: { merged, replays, invalid, refused: 0, overflowed: 0, lost: 0, missing: 0 },
        twins: await Promise.all(wantedTwins),
      },
    }
  }

  #frame(step: FrameStep): void {
    const level = LEVELS[step.level] as string
    const from = `${step.publisher} ${level}`
    const seq = (this.#seqs.get(from) ?? 0) + 1
    this.#seqs.set(from, seq)
    const measured = step.entries.map(({ type, key, values }): Measured => ({
      type,
      key: KEYS[key] as EncodedKey,
      values,
      timesMs: values.map((value) => T0 + Math.abs(value) * 137 + this.#taken.length * 500),
    }))
    const entries = measured.map(({ type, key, values, timesMs }) => ({
      type,
      key,
      aggregate: aggregateOf(type, values, timesMs),
    }))
    const made = { bytes: frame({ publisher: step.publisher, level, seq }, ...entries), measured }
    if (step.heldBack === 0) this.#take(made)
    else this.#due.push({ made, after: step.heldBack })
  }

  #take(made: Made): void {
    this.#each((owner) => owner.take(made.bytes))
    for (const measured of made.measured) this.#model.measure(measured)
    this.#taken.push(made)
    this.merged++
  }

  #again(which: number): void {
    const made = this.#taken[which % Math.max(1, this.#taken.length)]
    if (made === undefined) return
    this.#each((owner) => owner.take(made.bytes))
    this.replays++
  }

  /** Something bad between two replays, or at the end of a bundle. */
  #bad(how: number): void {
    const other = frame({ publisher: 9, shard: SHARD + 1 }, counter(keyIn(SHARD + 1, 'other'), 1))
    const cut = frame({ publisher: 9 }, counter(KEYS[0] as EncodedKey, 1)).subarray(0, -1)
    const long = Uint8Array.of(...frame({ publisher: 9 }, counter(KEYS[0] as EncodedKey, 1)), 0)
    const bad = [lying(9, 1), other, cut, long, Uint8Array.of(1, 2, 3)][how] as Uint8Array
    const neighbour = this.#taken.at(-1)
    const frames = neighbour === undefined ? [bad] : [neighbour.bytes, bad, neighbour.bytes]
    this.replays += frames.length - 1
    this.invalid += 2
    // the bundle's last length points past its end
    this.#each((owner) => owner.takeBundle(Uint8Array.of(...encodeBundle(frames), 9, 9)))
  }

  #each(act: (owner: Owner) => void): void {
    for (const { owner } of this.twins) act(owner)
    const before = this.owner.commits.length
    act(this.owner)
    for (const { end, outbox } of this.owner.commits.slice(before)) {
      const rollups = this.#model.commit(end)
      if (outbox !== undefined) this.#expected.push({ endMs: end, rollups })
    }
  }
}
