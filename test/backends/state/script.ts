import type { Step } from './model.ts'

/** What the child that is to crash goes through, said one by one. `compact` only begins one. */
export const SCRIPT: readonly (Step | { readonly kind: 'restart' })[] = [
  { kind: 'append', entries: [[0, 'one']] },
  { kind: 'append', entries: [[1, 'two']] },
  {
    kind: 'commit',
    windows: [
      { shard: 0, snapshot: 'first', full: true, entries: 1, outbox: 'o0' },
      { shard: 1, snapshot: 'second', full: false, entries: 0, outbox: 'o1' },
    ],
  },
  { kind: 'attempt', backend: 'a', nth: 0 },
  { kind: 'settle', backend: 'a', nth: 0 },
  { kind: 'attempt', backend: 'b', nth: 0 },
  { kind: 'append', entries: [[2, 'three']] },
  { kind: 'compact', during: [] },
  { kind: 'append', entries: [[0, 'four']] },
  { kind: 'commit', windows: [{ shard: 0, snapshot: 'third', full: false, entries: 1, outbox: 'o2' }] },
  { kind: 'settle', backend: 'b', nth: 1 },
  { kind: 'restart' },
  { kind: 'append', entries: [[1, 'five']] },
  { kind: 'release', backend: 'b', nth: 0 },
  { kind: 'compact', during: [] },
  { kind: 'restart' },
  { kind: 'commit', windows: [{ shard: 2, snapshot: 'fourth', full: true, entries: 1, outbox: undefined }] },
]
