import { worker } from './relay/worker.ts'

/** A Worker that is the gateway's HTTP interface, and keeps what it takes in Durable Objects until a gateway upstream has it. */
export default worker
export { Relay } from './relay/relay.ts'
export type { RelayEnv } from './relay/settings.ts'
