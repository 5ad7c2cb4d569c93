import type { State } from '../../../backends/state/state.ts'
import { acquired } from '../../contract/state.ts'

export type Step =
  | { readonly kind: 'append'; readonly entries: readonly (readonly [shard: number, bundle: string])[] }
  | { readonly kind: 'commit'; readonly windows: readonly WindowStep[] }
  | { readonly kind: 'attempt' | 'release' | 'settle'; readonly backend: string; readonly nth: number }
  /** A compaction and what is asked while it is under way. */
  | { readonly kind: 'compact'; readonly during: readonly Step[] }

export interface WindowStep {
  readonly shard: number
  readonly snapshot: string
  readonly full: boolean
  /** How many of the shard's entries it contains. */
  readonly entries: number
  readonly outbox: string | undefined
}

/** What can be seen of a state from outside. */
export interface View {
  shards: { end: number; snapshots: string[]; entries: string[] }[]
  outbox: { end: number; shard: number; text: string; pending: string[]; attempted: string[] }[]
}

export const SHARDS_USED = 3

/** The state contract as plainly as it can be said. */
export class Model {
  shards: View['shards'] = Array.from({ length: SHARDS_USED }, () => ({ end: 0, snapshots: [], entries: [] }))
  outbox: (View['outbox'][number] & { begun: string[] })[] = []
  backends: readonly string[] = []

  clone(): Model {
    const { shards, outbox, backends } = this
    return Object.assign(new Model(), structuredClone({ shards, outbox, backends }))
  }

  /** A new process, with these backends. */
  restart(backends: readonly string[]): void {
    this.backends = backends
    for (const window of this.outbox) {
      window.pending = window.pending.filter((backend) => backends.includes(backend))
      window.attempted = [...window.attempted, ...window.begun].filter((backend) => backends.includes(backend))
      window.begun = []
    }
    this.#forget()
  }

  apply(step: Step): void {
    switch (step.kind) {
      case 'append':
        for (const [shard, bundle] of step.entries) this.shards[shard]?.entries.push(bundle)
        break
      case 'commit':
        for (const { shard, snapshot, full, entries, outbox } of step.windows) {
          const kept = this.shards[shard] as View['shards'][number]
          kept.end += 10
          kept.snapshots = full ? [snapshot] : [...kept.snapshots, snapshot]
          kept.entries = kept.entries.slice(entries)
          if (outbox === undefined) continue
          const pending = [...this.backends]
          this.outbox.push({ end: kept.end, shard, text: outbox, pending, attempted: [], begun: [] })
        }
        this.outbox.sort((a, b) => a.end - b.end || a.shard - b.shard)
        this.#forget()
        break
      case 'compact':
        for (const inner of step.during) this.apply(inner)
        break
      default:
        this.#mark(step.kind, step.backend, this.outbox[step.nth])
    }
  }

  view(): View {
    return {
      shards: structuredClone(this.shards),
      outbox: this.outbox.map(({ end, shard, text, pending, attempted }) => ({
        end,
        shard,
        text,
        pending: pending.toSorted(),
        attempted: [...new Set(attempted)].toSorted(),
      })),
    }
  }

  #mark(kind: 'attempt' | 'release' | 'settle', backend: string, window: Model['outbox'][number] | undefined): void {
    if (window === undefined || !window.pending.includes(backend)) return
    const without = (names: string[]): string[] => names.filter((name) => name !== backend)
    if (kind === 'attempt') {
      window.begun = [...without(window.begun), backend]
      return
    }
    window.begun = without(window.begun)
    window.attempted = without(window.attempted)
    if (kind === 'settle') window.pending = without(window.pending)
    this.#forget()
  }

  #forget(): void {
    this.outbox = this.outbox.filter(({ pending }) => pending.length > 0)
  }
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

/** Does to a state what a step says; the state is where the last steps left it. */
export async function perform(state: State & { compact?(): Promise<void> }, step: Step): Promise<void> {
  switch (step.kind) {
    case 'append':
      await state.append(step.entries.map(([shard, bundle]) => ({ shard, bundle: encode(bundle) })))
      break
    case 'commit':
      await state.commit(
        await Promise.all(
          step.windows.map(async ({ shard, snapshot, full, entries, outbox }) => {
            const restored = await acquired(state, shard)
            const positions: string[] = []
            for await (const { position } of restored.entries) positions.push(position)
            return {
              shard,
              end: restored.end + 10,
              position: positions[Math.min(entries, positions.length) - 1],
              snapshot: { kind: full ? ('full' as const) : ('changes' as const), bytes: encode(snapshot) },
              outbox: outbox === undefined ? undefined : encode(outbox),
            }
          }),
        ),
      )
      break
    case 'compact': {
      const compacted = state.compact?.()
      for (const inner of step.during) await perform(state, inner)
      await compacted
      break
    }
    default: {
      const entry = (await state.outbox())[step.nth]
      await state[step.kind](step.backend, entry === undefined ? [] : [entry.id])
    }
  }
}

export async function look(state: State): Promise<View> {
  const shards = []
  for (let shard = 0; shard < SHARDS_USED; shard++) {
    const restored = await acquired(state, shard)
    const entries: string[] = []
    for await (const { bundle } of restored.entries) entries.push(decode(bundle))
    shards.push({ end: restored.end, snapshots: restored.snapshots.map(decode), entries })
  }
  const outbox = []
  for (const { id, shard, end, pending, attempted } of await state.outbox()) {
    const text = decode(await state.load(id))
    outbox.push({ end, shard, text, pending: pending.toSorted(), attempted: attempted.toSorted() })
  }
  return { shards, outbox }
}
