export * from '../client/testing.ts'
export { type BackendSetup, type ContractCheck, backendContract } from './contract.ts'
export { rollupsOfEveryType, sampleRollup, sampleWindow } from './samples.ts'
