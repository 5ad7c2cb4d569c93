export {
  Backend,
  type CounterRollup,
  type DistributionRollup,
  type GaugeRollup,
  type MeterRollup,
  PermanentError,
  RetryLaterError,
  type Rollup,
  type SetRollup,
  type Window,
} from './backend.ts'
export type { Aggregate } from '../client/sketch/aggregate.ts'
export type { Distribution } from '../client/sketch/distribution.ts'
export type { Members } from '../client/sketch/members.ts'
export type { Frame, FrameEntry } from '../client/wire/frame.ts'
export { inDoubtOf, openBackend } from './open.ts'
export type { Params } from './params.ts'
export { type RollupRecord, recordOf } from './record.ts'
export { type BackendUrl, type Env, type InDoubt, parseBackendUrl } from './url.ts'
