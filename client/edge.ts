export * from './api.ts'
export { Zibrato } from './platform/edge.ts'
