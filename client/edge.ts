export * from './api.ts'
export { instrument } from './edge/instrument.ts'
export type { EnvOf, Gateway, InstrumentedWorkerOptions } from './edge/instrument.ts'
export { Zibrato } from './platform/edge.ts'
