import { AsyncLocalStorage } from 'node:async_hooks'
import type { Tags } from '../wire/series.ts'

/** Tags that hold for a function and all that it calls, also later and asynchronously. */
export class TagScope {
  // made when it is first needed, so that who has no scopes pays for none
  #storage: AsyncLocalStorage<Tags> | undefined

  /** Those of the scope at hand; undefined outside of any. */
  get tags(): Tags | undefined {
    return this.#storage?.getStore()
  }

  /** Calls `body` with these tags besides those of the scope at hand, and returns what it returns. */
  run<Result>(tags: Tags, body: () => Result): Result {
    this.#storage ??= new AsyncLocalStorage()
    return this.#storage.run({ ...this.tags, ...tags }, body)
  }
}
