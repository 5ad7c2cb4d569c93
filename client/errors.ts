/**
 * What a caller can catch. Every error names the component, what was wrong and what to do; `code` is stable and stands in
 * the table of `client/README.md`.
 */
export class ZibratoError extends Error {
  readonly code: string
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.name = new.target.name
  }
}

/** Bytes that are not a frame or bundle of a version this code reads. `code`: `ERR_INVALID_FRAME`. */
export class InvalidFrameError extends ZibratoError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_INVALID_FRAME', message, options)
  }
}

/** A name, tag, level, type or value that no series may have. `code`: `ERR_INVALID_MEASUREMENT`. */
export class InvalidMeasurementError extends ZibratoError {
  constructor(message: string) {
    super('ERR_INVALID_MEASUREMENT', message)
  }
}

/** An option, flag or URL that makes no sense; the message names it and the way out. `code`: `ERR_USAGE`. */
export class UsageError extends ZibratoError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_USAGE', message, options)
  }
}
