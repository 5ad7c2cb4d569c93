import type { Counter } from '../instruments/counter.ts'
import type { Gauge } from '../instruments/gauge.ts'
import type { Histogram } from '../instruments/histogram.ts'
import type { Meter } from '../instruments/meter.ts'
import type { Timer } from '../instruments/timer.ts'
import type { Unique } from '../instruments/unique.ts'
import type { InstrumentOptions } from '../options.ts'
import { Registry, type RegistryGaugeOptions } from './registry.ts'
import type { StatsTree } from './tree.ts'

/** The registry of the functions of this module, for programs that need but one. */
export const defaultRegistry: Registry = new Registry()

/** {@link Registry.counter} of the default registry. */
export function counter<Tag extends string = string>(name?: string, options?: InstrumentOptions): Counter<Tag> {
  return defaultRegistry.counter(name, options)
}

/** {@link Registry.meter} of the default registry. */
export function meter<Tag extends string = string>(name?: string, options?: InstrumentOptions): Meter<Tag> {
  return defaultRegistry.meter(name, options)
}

/** {@link Registry.timer} of the default registry. */
export function timer<Tag extends string = string>(name?: string, options?: InstrumentOptions): Timer<Tag> {
  return defaultRegistry.timer(name, options)
}

/** {@link Registry.histogram} of the default registry. */
export function histogram<Tag extends string = string>(name?: string, options?: InstrumentOptions): Histogram<Tag> {
  return defaultRegistry.histogram(name, options)
}

/** {@link Registry.gauge} of the default registry. */
export function gauge<Tag extends string = string>(
  name?: string,
  options?: RegistryGaugeOptions | (() => number),
): Gauge<Tag> {
  return defaultRegistry.gauge(name, options)
}

/** {@link Registry.unique} of the default registry. */
export function unique<Tag extends string = string>(name?: string, options?: InstrumentOptions): Unique<Tag> {
  return defaultRegistry.unique(name, options)
}

/** {@link Registry.getStats} of the default registry. */
export function getStats<Shape extends object = StatsTree>(): Shape {
  return defaultRegistry.getStats<Shape>()
}

/** {@link Registry.remove} from the default registry. */
export function remove(name: string): boolean {
  return defaultRegistry.remove(name)
}

/** {@link Registry.clear} of the default registry. */
export function clear(): void {
  defaultRegistry.clear()
}
