export { type ObserveOptions, type Observing, observe } from './observe.ts'
export type { HttpRoute } from './http.ts'
export type { Instruments, Timed } from './instruments.ts'
export type { ClientRequest, UndiciRoute } from './undici.ts'
