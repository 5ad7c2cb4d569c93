import { FetchTransport } from '../transport/fetch.ts'
import type { Post } from '../transport/post.ts'
import type { Zibrato } from '../zibrato.ts'
import { Invocations } from './invocations.ts'

/** How long a flush may keep the batch of a queue from being acknowledged. */
const QUEUE_MS = 1_000

/** Where a Worker's measurements go. */
export interface Gateway {
  /** `https://host`, or a full path. Not needed with a binding. */
  readonly url?: string | undefined
  readonly token?: string | undefined
  /** A service binding to the gateway, called in place of the URL. */
  readonly binding?: { fetch: (...args: never[]) => Promise<unknown> } | undefined
}

export interface InstrumentedWorkerOptions {
  /** Whether to count requests, errors and cold starts, and to time requests. Default true. */
  readonly metrics?: boolean | undefined
  /**
   * The pattern of a request's route, such as `/users/:id`; undefined leaves the tag out. Asked once the response is there. It
   * must take few values: never the path itself. Default: no tag.
   */
  readonly route?: ((request: Request) => string | undefined) | undefined
}

/** What the second argument of a Worker's handlers is. */
export type EnvOf<Worker> = Worker extends { fetch?: infer Fetch }
  ? NonNullable<Fetch> extends (request: never, env: infer Env, ...rest: never[]) => unknown
    ? Env
    : unknown
  : unknown

type Handler = (...args: unknown[]) => unknown

/**
 * A Worker like `worker` that sends what it measured with `z` in `ctx.waitUntil` after each event. Responses, streams and errors
 * are what they were, and wait for nothing. `fetch`, `scheduled` and `queue` are measured, unless told not to: the counters
 * `worker.requests`, `worker.errors` and `worker.cold_starts`, and the timer `worker.duration`.
 *
 * @param gateway says from each event's environment where to send; default its `ZIBRATO_URL` and `ZIBRATO_TOKEN`. Never mind what
 * it answers or throws: the Worker works as it did, and one warning says what is wrong
 */
export function instrument<Worker extends object>(
  z: Zibrato<string>,
  worker: Worker,
  gateway: (env: EnvOf<Worker>) => Gateway | undefined = fromVariables,
  options: InstrumentedWorkerOptions = {},
): Worker {
  const transport = z.transport instanceof FetchTransport ? z.transport : undefined
  const invocations = options.metrics === false ? undefined : new Invocations(z, options.route)
  const own: Record<string, Handler> = {}
  const handlerOf = (name: string): Handler | undefined => {
    const handler = (worker as Record<string, unknown>)[name]
    return typeof handler === 'function' ? (handler as Handler) : undefined
  }
  // a class with private fields knows only its own instances
  for (const name of ['email', 'tail', 'trace']) {
    const handler = handlerOf(name)
    if (handler !== undefined) own[name] = handler.bind(worker)
  }
  for (const kind of ['fetch', 'scheduled', 'queue'] as const) {
    const handler = handlerOf(kind)
    if (handler === undefined) continue
    own[kind] = (...args) => {
      const [event, env, ctx] = args
      if (transport !== undefined) connect(transport, () => gateway(env as EnvOf<Worker>))
      const ended = invocations?.begin(kind, event)
      const finish = (failed: boolean, result?: unknown): void => {
        ended?.(failed, result)
        // a batch is acknowledged only after this
        const flushed = z.flush(kind === 'queue' ? QUEUE_MS : undefined)
        // called on its object, which the runtime insists on
        ;(ctx as { waitUntil?: (promise: Promise<void>) => void } | undefined)?.waitUntil?.(flushed)
      }
      let result: unknown
      try {
        result = Reflect.apply(handler, worker, args)
      } catch (error) {
        finish(true)
        throw error
      }
      // asked first, and yet what the runtime gets is the handler's own promise
      if (result instanceof Promise) {
        result.then(
          (value) => finish(false, value),
          () => finish(true),
        )
      } else finish(false, result)
      return result
    }
  }
  // the rest is the worker's own, by inheritance; of one that is frozen, or a module's namespace, nothing can be replaced
  return Object.create(worker, Object.getOwnPropertyDescriptors(own)) as Worker
}

function fromVariables(env: unknown): Gateway | undefined {
  const { ZIBRATO_URL: url, ZIBRATO_TOKEN: token } = env as Record<string, string | undefined>
  return url === undefined ? undefined : { url, token }
}

/** Has frames go where `ask` says, unless it says nothing. Never throws: what is wrong is warned of, once. */
function connect(transport: FetchTransport, ask: () => Gateway | undefined): void {
  try {
    const gateway = ask()
    if (gateway === undefined) return
    const { url, token, binding } = gateway
    if (binding === undefined) transport.connect({ url: url as string, token })
    else {
      transport.connect({ url: url ?? 'https://zibrato', token, fetch: (...args) => (binding.fetch as Post)(...args) })
    }
  } catch (error) {
    transport.warnNowhere((error as Error).message)
  }
}
