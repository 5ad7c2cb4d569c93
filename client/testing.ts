export { ManualClock } from './clock.ts'
export { MemoryMetrics } from './transport/metrics.ts'
export { MemoryTransport } from './transport/memory.ts'
