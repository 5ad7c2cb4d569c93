import type { Aggregates } from './aggregates.ts'
import { Distribution } from './distribution.ts'
import { Members } from './members.ts'

/** Aggregates that stay small however much they take: for programs that live long. */
export const SKETCHES: Aggregates = {
  samples: () => new Distribution(),
  members: () => new Members(),
}
