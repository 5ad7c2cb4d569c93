import { meteredBy } from '../../../client/measure/metered.ts'
import type { Counter } from '../../../client/instruments/counter.ts'
import type { Timer } from '../../../client/instruments/timer.ts'
import type { Registry } from '../../../client/registry/registry.ts'

/** Classes as instrumented programs have them; compiled once with TC39's decorators and once with TypeScript's legacy ones. */
export function makeHandlers(registry: Registry): { Handler: typeof HandlerShape; Pay: typeof HandlerShape } {
  @meteredBy({
    latency: (name) => registry.timer(`my.http.${name}.latency`),
    errors: (name) => registry.counter(`my.http.${name}.errors`),
  })
  class Handler extends HandlerShape {
    declare readonly latency: Timer
    declare readonly errors: Counter

    override get(fails: boolean): string {
      if (fails) this.errors.inc()
      return this.latency.time(() => this.constructor.name)
    }
  }
  class Pay extends Handler {}
  return { Handler, Pay }
}

export class HandlerShape {
  get(_fails: boolean): string {
    return ''
  }
}
