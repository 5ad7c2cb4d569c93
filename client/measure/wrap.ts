import { measured } from './measured.ts'

export interface MeasureOptions {
  /** Adds the tag `outcome`: `ok`, or `error` when the call threw or rejected. Default false. */
  readonly outcome?: boolean
}

export type AnyFunction = (...args: never[]) => unknown

/**
 * A function like `fn` whose calls are recorded on `instrument`; `this`, name, length, result and errors stay.
 *
 * @param begin called as a call begins; answers what records it, once it has ended, on the instrument with its outcome
 */
export function wrap<Fn extends AnyFunction, To extends { with(tags: { outcome: string }): To }>(
  fn: Fn,
  instrument: To,
  { outcome = false }: MeasureOptions,
  begin: () => (to: To) => void,
): Fn {
  const [succeeded, failed] = outcome
    ? [instrument.with({ outcome: 'ok' }), instrument.with({ outcome: 'error' })]
    : [instrument, instrument]
  const wrapped = function (this: unknown, ...args: never[]): unknown {
    const record = begin()
    return measured(
      () => Reflect.apply(fn, this, args),
      (hasFailed) => record(hasFailed ? failed : succeeded),
    )
  }
  for (const property of ['name', 'length'] as const) {
    Object.defineProperty(wrapped, property, { value: fn[property], configurable: true })
  }
  return wrapped as unknown as Fn
}
