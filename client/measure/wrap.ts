import { settled } from './settled.ts'

export interface MeasureOptions {
  /** Adds the tag `outcome`: `ok`, or `error` when the call threw or rejected. Default false. */
  readonly outcome?: boolean
}

export type AnyFunction = (...args: never[]) => unknown

/** What a wrapped function records to: a timer, a counter. */
interface Taggable<Self> {
  with(tags: { outcome: string }): Self
}
interface Timed extends Taggable<Timed> {
  recordMs(milliseconds: number): void
}
interface Counted extends Taggable<Counted> {
  inc(value: number): void
}

/** A function like `fn` whose calls `done` is told of; `this`, name, length, result and errors stay. */
function wrap<Fn extends AnyFunction>(fn: Fn, begin: () => (failed: boolean) => void): Fn {
  const wrapped = function (this: unknown, ...args: never[]): unknown {
    const done = begin()
    let result: unknown
    try {
      result = Reflect.apply(fn, this, args)
    } catch (error) {
      done(true)
      throw error
    }
    return settled(result, done)
  }
  Object.defineProperty(wrapped, 'name', { value: fn.name, configurable: true })
  Object.defineProperty(wrapped, 'length', { value: fn.length, configurable: true })
  return wrapped as unknown as Fn
}

export function wrapTimed<Fn extends AnyFunction>(
  timer: Timed,
  clock: () => number,
  fn: Fn,
  { outcome = false }: MeasureOptions = {},
): Fn {
  const [succeeded, failed] = outcome
    ? [timer.with({ outcome: 'ok' }), timer.with({ outcome: 'error' })]
    : [timer, timer]
  return wrap(fn, () => {
    const startedMs = clock()
    return (hasFailed) => (hasFailed ? failed : succeeded).recordMs(clock() - startedMs)
  })
}

export function wrapCounted<Fn extends AnyFunction>(
  counter: Counted,
  value: number,
  fn: Fn,
  { outcome = false }: MeasureOptions = {},
): Fn {
  const [succeeded, failed] = outcome
    ? [counter.with({ outcome: 'ok' }), counter.with({ outcome: 'error' })]
    : [counter, counter]
  return wrap(fn, () => (hasFailed) => (hasFailed ? failed : succeeded).inc(value))
}
