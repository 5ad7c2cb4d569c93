import type { Writer } from '../wire/bytes.ts'
import type { Aggregates } from './aggregates.ts'
import { Distribution } from './distribution.ts'
import { Members } from './members.ts'
import { Readings } from './readings.ts'

/** Aggregates that stay small however much they take: for programs that live long. */
export const SKETCHES: Aggregates<() => Writer> = {
  samples: () => new Distribution(),
  readings: () => new Readings(),
  members: () => new Members(),
  sum: (entry, value) => entry().finite(value),
}
