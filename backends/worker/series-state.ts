import { Distribution } from '../../client/sketch/distribution.ts'
import { Gauge } from '../../client/sketch/gauge.ts'
import { Members } from '../../client/sketch/members.ts'
import type { Reader, Writer } from '../../client/wire/bytes.ts'
import { TYPE_CODE } from '../../client/wire/series.ts'
import { Combined } from '../../client/sketch/combined.ts'
import { Rates } from '../../client/sketch/rates.ts'

export interface MeterState {
  count: number
  readonly rates: Rates
}

export interface GaugeState {
  readonly window: Gauge
  /** The newest reading of all windows, for `repeat`. */
  value: number
  timeMs: number
  combined: Combined | undefined
}

/** What a shard holds of a series that is no counter. Of timers, histograms and sets nothing lasts beyond a window. */
export type SlotState = MeterState | GaugeState | Distribution | Members

export function createState(type: number): SlotState {
  if (type === TYPE_CODE.meter) return { count: 0, rates: new Rates() }
  if (type === TYPE_CODE.gauge) return { window: new Gauge(), value: Number.NaN, timeMs: 0, combined: undefined }
  if (type === TYPE_CODE.timer || type === TYPE_CODE.histogram) return new Distribution()
  return new Members()
}

export function encodeGauge(writer: Writer, { value, timeMs, combined }: GaugeState): void {
  writer.f64(value)
  writer.f64(timeMs)
  writer.u8(combined === undefined ? 0 : 1)
  combined?.encode(writer)
}

export function decodeGauge(reader: Reader): GaugeState {
  const value = reader.f64()
  const timeMs = reader.f64()
  const combined = reader.u8() === 0 ? undefined : Combined.decode(reader)
  return { window: new Gauge(), value, timeMs, combined }
}
