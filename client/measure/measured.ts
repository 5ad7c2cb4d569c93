/**
 * Calls `call`, and `note` once its result is there: at once, or when the promise it returned is settled. Answers what the
 * caller should get: the result, or a promise of the same outcome, which tells `note` before anybody else sees it.
 */
export function measured<Result>(call: () => Result, note: (failed: boolean) => void): Result {
  const fail = (error: unknown): never => {
    note(true)
    throw error
  }
  let result: Result
  try {
    result = call()
  } catch (error) {
    return fail(error)
  }
  if (typeof (result as PromiseLike<unknown> | null | undefined)?.then !== 'function') {
    note(false)
    return result
  }
  // another kind of thenable need not answer `then` with a promise
  const promise = result instanceof Promise ? result : Promise.resolve(result)
  // the derived promise is what the caller gets, so a rejection nobody handles still shows
  return promise.then((value: unknown) => {
    note(false)
    return value
  }, fail) as Result
}
