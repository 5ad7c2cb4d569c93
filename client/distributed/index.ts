export { type AggregatorFigures, type AggregatorOptions, RegistryAggregator } from './aggregator.ts'
export { type DistributedGaugeOptions, type DistributedOptions, DistributedRegistry } from './registry.ts'
export { AggregatorProcess, type AggregatorProcessOptions } from './supervisor.ts'
