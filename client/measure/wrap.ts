import { measured } from './measured.ts'

export interface MeasureOptions {
  /** Adds the tag `outcome`: `ok`, or `error` when the call threw or rejected. Default false. */
  readonly outcome?: boolean
}

export type AnyFunction = (...args: never[]) => unknown

/**
 * A function like `fn` whose calls are recorded on `instrument`; `this`, name, length and whatever else it has, result and errors
 * stay.
 *
 * @param begin called as a call begins; answers what records it, once it has ended, on the instrument with its outcome
 */
export function wrap<Fn extends AnyFunction, To extends { with(tags: { outcome: string }): To }>(
  fn: Fn,
  instrument: To,
  { outcome = false }: MeasureOptions,
  begin: () => (to: To) => void,
): Fn {
  const wrapped = function (this: unknown, ...args: never[]): unknown {
    const record = begin()
    return measured(
      () => Reflect.apply(fn, this, args),
      (failed) => record(outcome ? instrument.with({ outcome: failed ? 'error' : 'ok' }) : instrument),
    )
  }
  Object.defineProperties(wrapped, Object.getOwnPropertyDescriptors(fn))
  return wrapped as unknown as Fn
}
