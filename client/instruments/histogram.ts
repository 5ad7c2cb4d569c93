import { Sampled } from './sampled.ts'

/** Values of any unit: count, sum, extremes and percentiles of each window. */
export class Histogram<Tag extends string = string> extends Sampled<Tag> {
  readonly type = 'histogram'
}
