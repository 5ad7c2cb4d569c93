export { type DeliveryFigures, type DeliveryLog, type Target } from './deliver.ts'
export { DEFAULT_PERCENTILES, percentileName } from './rollup.ts'
export type { Idle } from './shard.ts'
export { Worker, type WorkerFigures, type WorkerOptions } from './worker.ts'
