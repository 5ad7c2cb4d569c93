/**
 * Calls `note` once a call's result is there: at once, or when the promise it returned is settled. Answers what the caller
 * should get: the result, or a promise of the same outcome, which notes the outcome before anybody else sees it.
 */
export function settled<Result>(result: Result, note: (failed: boolean) => void): Result {
  if (!isThenable(result)) {
    note(false)
    return result
  }
  // another kind of thenable need not answer `then` with a promise
  const promise = result instanceof Promise ? result : Promise.resolve(result)
  // the derived promise is what the caller gets, so a rejection nobody handles still shows
  return promise.then(
    (value: unknown) => {
      note(false)
      return value
    },
    (error: unknown) => {
      note(true)
      throw error
    },
  ) as Result
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return value !== null && typeof value === 'object' && typeof (value as PromiseLike<unknown>).then === 'function'
}
