export { Registry } from './registry.ts'
export { metered, meteredBy } from '../measure/metered.ts'
export type { Attributes, Metered, MeteredClass } from '../measure/metered.ts'
export type { RegistryGaugeOptions, RegistryOptions } from './registry.ts'
export type {
  CounterStats,
  GaugeStats,
  HistogramStats,
  MeterStats,
  SeriesStats,
  StatsOf,
  TimerStats,
  UniqueStats,
} from './stats.ts'
export type { StatsTree, TaggedStats } from './tree.ts'
export { clear, counter, defaultRegistry, gauge, getStats, histogram, meter, remove, timer, unique } from './default.ts'
