import type { Counter } from '../instruments/counter.ts'
import type { Timer } from '../instruments/timer.ts'
import type { Tags } from '../wire/series.ts'
import type { Zibrato } from '../zibrato.ts'

/** Methods that have a tag of their own; clients may send any others. */
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/** What is measured of every event that a Worker handles. */
export class Invocations {
  readonly #route: ((request: Request) => string | undefined) | undefined
  readonly #requests: Counter
  readonly #errors: Counter
  readonly #coldStarts: Counter
  readonly #duration: Timer
  #isCold = true

  constructor(z: Zibrato<string>, route: ((request: Request) => string | undefined) | undefined) {
    this.#route = route
    this.#requests = z.counter('worker.requests')
    this.#errors = z.counter('worker.errors')
    this.#coldStarts = z.counter('worker.cold_starts')
    this.#duration = z.timer('worker.duration')
  }

  /** Notes that an event begins; to be called when its result is there. Never throws. */
  begin(handler: 'fetch' | 'scheduled' | 'queue', event: unknown): (failed: boolean, result: unknown) => void {
    if (this.#isCold) this.#coldStarts.inc()
    this.#isCold = false
    const running = this.#duration.start()
    return (failed, result) => {
      const tags = { handler, ...this.#tags(handler, event) }
      const status = handler === 'fetch' ? statusClass(result) : 'ok'
      this.#requests.with({ ...tags, status: failed ? 'error' : status }).inc()
      if (failed) this.#errors.with(tags).inc()
      running.cancel()
      this.#duration.with(tags).record(running.stop())
    }
  }

  /** What tells events of a kind apart, in few values. */
  #tags(handler: string, event: unknown): Tags {
    try {
      if (handler === 'scheduled') return { cron: (event as { cron?: string }).cron }
      if (handler === 'queue') return { queue: (event as { queue?: string }).queue }
      const { method } = event as Request
      return { method: METHODS.includes(method) ? method : 'other', route: this.#route?.(event as Request) }
    } catch {
      // a route that cannot be told is left out
      return {}
    }
  }
}

/** `2xx` and such; undefined for what is no response. */
function statusClass(result: unknown): string | undefined {
  const status = (result as Partial<Response> | null | undefined)?.status
  return typeof status === 'number' ? `${Math.floor(status / 100)}xx` : undefined
}
