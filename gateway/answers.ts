/** Every `error.code` of an answer, with its status. `gateway/README.md` says when each is given. */
export const ERROR_STATUS: Readonly<Record<ErrorCode, number>> = {
  unreadable: 400,
  all_invalid: 400,
  invalid_key: 400,
  unauthorized: 401,
  level_forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  timed_out: 408,
  too_large: 413,
  unsupported_type: 415,
  unsupported_encoding: 415,
  headers_too_large: 431,
  internal: 500,
  overloaded: 503,
  unavailable: 503,
  not_ready: 503,
  closing: 503,
}

export type ErrorCode =
  | 'unreadable'
  | 'all_invalid'
  | 'invalid_key'
  | 'unauthorized'
  | 'level_forbidden'
  | 'not_found'
  | 'method_not_allowed'
  | 'timed_out'
  | 'too_large'
  | 'unsupported_type'
  | 'unsupported_encoding'
  | 'headers_too_large'
  | 'internal'
  | 'overloaded'
  | 'unavailable'
  | 'not_ready'
  | 'closing'

/** What goes back to the client; kept for repeats. */
export interface Answer {
  readonly status: number
  /** JSON. */
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

/** Thrown by whatever finds that a request cannot be taken. */
export class Refusal extends Error {
  readonly code: ErrorCode
  readonly headers: Readonly<Record<string, string>>
  constructor(
    code: ErrorCode,
    message: string,
    headers: Readonly<Record<string, string>> = {},
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.name = 'Refusal'
    this.code = code
    this.headers = headers
  }
}

/** What is refused though there is room, and may be taken later. */
export function unavailable(obstacle: string, cause?: unknown): Refusal {
  return new Refusal('unavailable', `${obstacle}; retry later`, { 'retry-after': '1' }, { cause })
}

/** `{"error":{"code","message"}}`, and what else is to be said. */
export function refuse(
  code: ErrorCode,
  message: string,
  headers: Readonly<Record<string, string>> = {},
  more: Readonly<Record<string, unknown>> = {},
): Answer {
  return { status: ERROR_STATUS[code], body: JSON.stringify({ error: { code, message }, ...more }), headers }
}
