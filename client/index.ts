export * from './api.ts'
export { Zibrato } from './platform/node.ts'
export type { CurveKeys } from './curve.ts'
