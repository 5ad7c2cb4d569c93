/**
 * A signal that is aborted with the first of some, one of them of `AbortSignal.timeout`.
 *
 * `AbortSignal.any` alone does not hold what it was given: Node 20 collects a timeout that nobody listens to, and with it
 * its timer, so that what should be cut off goes on for ever (nodejs/node#57736).
 */
export function anySignal(timeout: AbortSignal, ...others: readonly AbortSignal[]): AbortSignal {
  timeout.addEventListener('abort', () => {}, { once: true })
  return AbortSignal.any([timeout, ...others])
}
