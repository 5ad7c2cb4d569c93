export * from './api.ts'
export { instrument } from './lambda/instrument.ts'
export type { HandlerOptions } from './lambda/instrument.ts'
export { Zibrato } from './platform/lambda.ts'
