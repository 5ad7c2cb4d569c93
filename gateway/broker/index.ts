export { Broker } from './broker.ts'
export type { BrokerOptions } from './broker.ts'
export type { BrokerStats } from './stats.ts'
