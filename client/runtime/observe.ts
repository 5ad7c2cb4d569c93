import { durationMs } from '../duration.ts'
import { UsageError } from '../errors.ts'
import { tell } from '../platform/warnings.ts'
import type { WarningSink } from '../warning.ts'
import { observeCpu } from './cpu.ts'
import { observeEventLoop } from './event-loop.ts'
import { observeGc } from './gc.ts'
import { type HttpRoute, observeHttp } from './http.ts'
import type { Instruments, Target } from './instruments.ts'
import { observeHeap, observeMemory } from './memory.ts'
import { observeResources } from './resources.ts'
import { type UndiciRoute, observeUndici } from './undici.ts'

/** What `observe` looks at: everything but what is `false`. What is off costs nothing. Names stand in `client/README.md`. */
export interface ObserveOptions {
  /** Delay and utilisation of the event loop; `resolution` is how often the delay is sampled, default 20 ms. */
  readonly eventLoop?: boolean | { readonly resolution?: number | string } | undefined
  /** Garbage collections, by kind. */
  readonly gc?: boolean | undefined
  /** V8's heap. */
  readonly heap?: boolean | undefined
  /** Resident, external and buffers' memory. */
  readonly memory?: boolean | undefined
  /** What keeps the event loop alive, by type. */
  readonly resources?: boolean | undefined
  /** CPU time of the process. */
  readonly cpu?: boolean | undefined
  /**
   * Requests that `http` and `https` servers answer, by method and class of status; with `route` also by what that answers
   * when the request has ended. It should have few values: `/users/:id`, not `/users/17`.
   */
  readonly http?: boolean | { readonly route?: HttpRoute } | undefined
  /** Requests made with `fetch` or undici; `route` as with `http`, of which nothing but the request is known. */
  readonly undici?: boolean | { readonly route?: UndiciRoute } | undefined
  /** In front of every name. Default none. */
  readonly prefix?: string | undefined
  /** How often CPU time and resources are looked at. Default 5 s. */
  readonly interval?: number | string | undefined
  /** Told of a `route` that throws, once; so is the diagnostics channel `zibrato:warning`. */
  readonly onWarning?: WarningSink | undefined
}

/** What {@link observe} began, until it is stopped. */
export interface Observing extends Disposable {
  /** Ends it: CPU time up to now is counted, and no listener, timer or observer stays behind. Idempotent. */
  stop(): void
}

/**
 * Tells a client, or a child of one, or a registry, about the process that it runs in: event loop, garbage collection, memory,
 * CPU, and the requests that it answers and makes. Node only. Once per client; it does not keep the program alive.
 *
 * @throws UsageError for a duration that is none, or a gauge of these names that combines otherwise already
 */
export function observe(instruments: Instruments, options: ObserveOptions = {}): Observing {
  const target: Target = {
    instruments,
    prefix: options.prefix ?? '',
    intervalMs: checkedMs('interval', options.interval ?? 5_000),
  }
  const { eventLoop, http, undici } = options
  const resolutionMs = checkedMs('resolution', chosen(eventLoop).resolution ?? 20)
  const warn = once(options.onWarning)
  const begins: [wanted: unknown, begin: () => () => void][] = [
    [eventLoop, () => observeEventLoop(target, resolutionMs)],
    [options.gc, () => observeGc(target)],
    [options.heap, () => observeHeap(target)],
    [options.memory, () => observeMemory(target)],
    [options.resources, () => observeResources(target)],
    [options.cpu, () => observeCpu(target)],
    [http, () => observeHttp(target, contained('http', chosen(http).route, warn))],
    [undici, () => observeUndici(target, contained('undici', chosen(undici).route, warn))],
  ]
  const stops: (() => void)[] = []
  const stop = (): void => {
    for (const each of stops.splice(0)) each()
  }
  try {
    for (const [wanted, begin] of begins) if (wanted !== false) stops.push(begin())
  } catch (cause) {
    stop()
    throw cause
  }
  return { stop, [Symbol.dispose]: stop }
}

function chosen<Choice extends object>(option: boolean | Choice | undefined): Partial<Choice> {
  return typeof option === 'object' ? option : {}
}

function checkedMs(name: string, duration: number | string): number {
  const ms = durationMs(duration)
  if (ms < 1) throw new UsageError(`observe: ${name} ${JSON.stringify(duration)} is too short; give 1 ms or more`)
  return ms
}

/** A route that never throws: it runs where an error would end the program. */
function contained<Args extends unknown[]>(
  what: string,
  route: ((...args: Args) => string | undefined) | undefined,
  warn: WarningSink,
): (...args: Args) => string | undefined {
  if (route === undefined) return () => undefined
  return (...args) => {
    try {
      return route(...args)
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      warn({
        code: 'ZIBRATO_ROUTE',
        message: `observe: ${what}.route threw: ${reason}; its requests have no tag "route"`,
      })
      return undefined
    }
  }
}

/** Tells of the first of each message. */
function once(onWarning: WarningSink | undefined): WarningSink {
  const told = new Set<string>()
  const sink = tell(onWarning)
  return (warning) => {
    if (told.size >= 100 || told.has(warning.message)) return
    told.add(warning.message)
    sink(warning)
  }
}
