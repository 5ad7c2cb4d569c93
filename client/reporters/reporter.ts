import type { Registry } from '../registry/registry.ts'

/** What brings the numbers of a registry to somebody else. */
export interface Reporter extends AsyncDisposable {
  /** Whose numbers it reports; to be changed only while it is stopped. */
  registry: Registry

  /** Begins. Idempotent. */
  start(): Promise<void>

  /** Reports a last time, where it reports by itself, and lets go of everything; it may be started again. Idempotent. */
  stop(): Promise<void>
}
