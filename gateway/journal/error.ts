/** Why something is not in the journal, or would not get there. */
export type JournalFault =
  /** Redis has no room, or soon none. */
  | 'full'
  /** Redis cannot be reached, or does not answer. */
  | 'unreachable'
  /** Redis answers, and does not take it. */
  | 'refused'
  /** So much waits to be written that no more is taken. */
  | 'busy'
  | 'closed'

/** Said to whoever wants something in the journal. The message is for clients, so it tells nothing of the machinery. */
export class JournalError extends Error {
  readonly fault: JournalFault
  /** Whether it may have been written all the same. Repeating it does no harm: frames have an identity. */
  readonly mayBeWritten: boolean

  constructor(fault: JournalFault, message: string, options: ErrorOptions & { readonly mayBeWritten?: boolean } = {}) {
    super(message, options)
    this.name = 'JournalError'
    this.fault = fault
    this.mayBeWritten = options.mayBeWritten ?? false
  }
}
