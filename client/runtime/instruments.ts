import type { Combine } from '../sketch/gauge.ts'
import type { Tags } from '../wire/series.ts'

/** What {@link observe} needs of whoever it tells: a client, a child of one, or a registry. */
export interface Instruments {
  counter(name: string, options?: { readonly tags?: Tags }): { inc(value: number): void }
  gauge(
    name: string,
    options?: { readonly tags?: Tags; readonly combine?: Combine },
  ): { observe(read: () => number): () => void }
  timer(name: string, options?: { readonly tags?: Tags }): Timed
}

export interface Timed {
  recordMs(milliseconds: number): void
  with(tags: Tags): Timed
}

/** Where one kind of figures goes, and how often those are looked at that nobody tells of. */
export interface Target {
  readonly instruments: Instruments
  /** In front of every name. */
  readonly prefix: string
  readonly intervalMs: number
}
