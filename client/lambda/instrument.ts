import { durationMs } from '../duration.ts'
import type { Zibrato } from '../zibrato.ts'
import { Invocation, type LambdaContext } from './invocation.ts'
import { Meters } from './meters.ts'
import { LambdaTransport } from '../transport/lambda.ts'

export interface HandlerOptions {
  /**
   * How long an invocation waits for what it measured to go out, at the most; less when its time runs out before. What has not
   * gone out is kept for the next. Default 300 ms.
   */
  readonly budget?: number | string | undefined
  /** Whether to count invocations, errors, cold starts and timeouts, and to time invocations. Default true. */
  readonly metrics?: boolean | undefined
}

type AnyHandler = (...args: never[]) => unknown

/** By which the runtime, and here too, knows a handler that streams its response. */
const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming')

/**
 * A handler like `handler` that also sends what it measured with `z` before it ends, and so before Lambda freezes it. Handlers
 * may be async, take a callback, or stream their response, to `awslambda.streamifyResponse` before or after. Result, errors,
 * `callbackWaitsForEmptyEventLoop` and whatever else the handler has stay as they are.
 *
 * It adds, unless told not to, the counters `lambda.invocations`, `lambda.errors`, `lambda.cold_starts` and `lambda.timeouts`,
 * and the timer `lambda.duration`.
 *
 * @throws UsageError for a budget that is no duration
 */
export function instrument<Handler extends AnyHandler>(
  z: Zibrato<string>,
  handler: Handler,
  options: HandlerOptions = {},
): Handler {
  const budgetMs = durationMs(options.budget ?? 300)
  const meters = new Meters(z, options.metrics ?? true)
  const transport = z.transport instanceof LambdaTransport ? z.transport : undefined
  transport?.extension?.promiseToTell()
  // while the function starts there is time for it
  void transport?.extension?.isThere()
  const run = (self: unknown, args: unknown[]): unknown => {
    const streams = (wrapped as { [STREAMING]?: unknown })[STREAMING] !== undefined
    const context = args[streams ? 2 : 1] as LambdaContext | undefined
    const invocation = new Invocation({ z, transport, meters, budgetMs, context })
    if (!streams) invocation.watch(args)
    let result: unknown
    try {
      result = Reflect.apply(handler, self, args)
    } catch (error) {
      return invocation.end(true).then(() => {
        throw error
      })
    }
    if (!isThenable(result)) {
      invocation.expectCallback()
      return result
    }
    return Promise.resolve(result).then(
      (value) => invocation.end(false).then(() => value),
      (error: unknown) =>
        invocation.end(true).then(() => {
          throw error
        }),
    )
  }
  // the runtime looks at what kind of function a handler is, and how many arguments it takes
  const wrapped = isAsync(handler)
    ? async function (this: unknown, ...args: unknown[]): Promise<unknown> {
        return run(this, args)
      }
    : function (this: unknown, ...args: unknown[]): unknown {
        return run(this, args)
      }
  Object.defineProperties(wrapped, Object.getOwnPropertyDescriptors(handler))
  return wrapped as unknown as Handler
}

function isAsync(handler: AnyHandler): boolean {
  return handler.constructor.name === 'AsyncFunction'
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return value !== null && typeof value === 'object' && typeof (value as PromiseLike<unknown>).then === 'function'
}
