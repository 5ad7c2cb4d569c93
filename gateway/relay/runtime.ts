/**
 * What is used here of the Workers runtime. Its own types are no dependency: they are global, and contradict Node's.
 *
 * @module
 */

/** A service binding, or a Durable Object. */
export interface Fetcher {
  fetch(input: string, init?: RequestInit): Promise<Response>
}

/** The binding of a Durable Object class. */
export interface ObjectNamespace {
  idFromName(name: string): ObjectId
  get(id: ObjectId, options?: { locationHint?: string }): Fetcher
}

/** Names an object; opaque. */
export interface ObjectId {
  toString(): string
}

/** What an object is given of itself. */
export interface ObjectState {
  readonly storage: ObjectStorage
  /** Delivers no event until `work` is done. */
  blockConcurrencyWhile<Value>(work: () => Promise<Value>): Promise<Value>
  /** Ends this instance, and all that it does; the next event gets a new one. */
  abort(reason: string): void
}

/** An object's storage. What is sent out waits until all that was written before is durable. */
export interface ObjectStorage {
  readonly sql: Sql
  /** All that `work` writes, or nothing when it throws. */
  transactionSync<Value>(work: () => Value): Value
  /** Resolves once all that was written is durable. */
  sync(): Promise<void>
  /** ms since the epoch; null when none is set, also while the alarm is handled. */
  getAlarm(): Promise<number | null>
  setAlarm(timeMs: number): Promise<void>
}

export interface Sql {
  exec(query: string, ...values: readonly SqlValue[]): Iterable<Readonly<Record<string, SqlValue>>>
}

export type SqlValue = ArrayBuffer | Uint8Array | string | number | null

/** What a request is given of its own. */
export interface RequestContext {
  /** Keeps the request alive until the promise settles, its client gone or not. */
  waitUntil(promise: Promise<unknown>): void
}
