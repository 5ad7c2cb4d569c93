import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import type { Rollup, Window } from '../backend.ts'
import type { Batch } from '../batches.ts'
import type { PromSeries } from './group.ts'
import { type Label, labelsOf } from '../../client/prometheus.ts'
import { writeNative } from './native.ts'
import type { Registry } from './registry.ts'

// of `message WriteRequest` in Prometheus' prompb/remote.proto, and what it holds, in prompb/types.proto
const TIMESERIES = 1
const LABELS = 1
const SAMPLES = 2
const HISTOGRAMS = 4
const VALUE = 1
const TIMESTAMP = 2

/**
 * A remote-write request in the making. Every series is told of once, with its samples in the order of time: the one at
 * the window's end, and before it, when the series was not in the window before, what totals and counts were until then.
 * Without that, an increment after a pause, or the first, would be none to `increase()`.
 */
export class WriteRequest implements Batch {
  /** Samples; of native histograms, their buckets. */
  size = 0
  /** Whether there are samples from before the window. */
  hasFormer = false
  readonly #registry: Registry
  readonly #window: Window
  readonly #tellsFormer: boolean
  readonly #rollups: Rollup[] = []
  readonly #endMs: number
  // not the start itself: there, whoever sent the series before may have said something else
  readonly #formerMs: number
  readonly #writer = new BinaryWriter()

  /** @param tellsFormer whether samples from before the window are told of too */
  constructor(registry: Registry, window: Window, tellsFormer = true) {
    this.#registry = registry
    this.#window = window
    this.#endMs = Math.round(window.end * 1000)
    this.#formerMs = Math.round(window.start * 1000) + 1
    this.#tellsFormer = tellsFormer && this.#formerMs < this.#endMs
  }

  add(rollup: Rollup): void {
    const series = this.#registry.find(rollup)
    // refused, which is told elsewhere
    if (series === undefined) return
    this.#rollups.push(rollup)
    const labels = labelsOf(rollup)
    if (series.native !== undefined) this.#addNative(series, labels)
    const { group, values } = series
    const former = this.#tellsFormer ? series.former : undefined
    group.shape.metrics.forEach(({ suffix, label, labelValue, life }, index) => {
      const value = values[index] as number
      if (Number.isNaN(value)) return
      const extra: Label | undefined = label === undefined ? undefined : [label, labelValue]
      this.#begin(group.base + suffix, labels, extra)
      if (former !== undefined && life === 'cumulative') {
        this.hasFormer = true
        this.#sample(former.values[index] as number, this.#formerMs)
      }
      this.#sample(value, this.#endMs)
      this.#writer.join()
    })
  }

  /** The same without samples from before the window. */
  withoutFormer(): WriteRequest {
    const request = new WriteRequest(this.#registry, this.#window, false)
    for (const rollup of this.#rollups) request.add(rollup)
    return request
  }

  /** The message; the request is over then. */
  finish(): Uint8Array {
    return this.#writer.finish()
  }

  #addNative({ group, native, former }: PromSeries, labels: readonly Label[]): void {
    const histograms = [{ distribution: native, timeMs: this.#endMs }]
    if (former !== undefined && this.#tellsFormer) {
      this.hasFormer = true
      histograms.unshift({ distribution: former.native, timeMs: this.#formerMs })
    }
    this.#begin(group.base, labels, undefined)
    for (const { distribution, timeMs } of histograms) {
      if (distribution === undefined) continue
      this.#writer.tag(HISTOGRAMS, WireType.LengthDelimited).fork()
      this.size += 1 + writeNative(this.#writer, distribution, timeMs)
      this.#writer.join()
    }
    this.#writer.join()
  }

  /** Begins a series; names of labels have to ascend, by their bytes. */
  #begin(name: string, labels: readonly Label[], extra: Label | undefined): void {
    this.#writer.tag(TIMESERIES, WireType.LengthDelimited).fork()
    const waiting: Label[] = [['__name__', name]]
    if (extra !== undefined) waiting.push(extra)
    for (const label of labels) {
      while (waiting[0] !== undefined && waiting[0][0] < label[0]) this.#label(waiting.shift() as Label)
      this.#label(label)
    }
    for (const label of waiting) this.#label(label)
  }

  #label([name, value]: Label): void {
    this.#writer
      .tag(LABELS, WireType.LengthDelimited)
      .fork()
      .tag(1, WireType.LengthDelimited)
      .string(name)
      .tag(2, WireType.LengthDelimited)
      .string(value)
      .join()
  }

  #sample(value: number, timeMs: number): void {
    this.size++
    this.#writer
      .tag(SAMPLES, WireType.LengthDelimited)
      .fork()
      .tag(VALUE, WireType.Bit64)
      .double(value)
      .tag(TIMESTAMP, WireType.Varint)
      .int64(timeMs)
      .join()
  }
}
