import { createApp } from '../app.ts'
import type { Sink } from '../ingest/sink.ts'
import { relayMetrics, relayObstacle } from './figures.ts'
import { Objects } from './objects.ts'
import type { RequestContext } from './runtime.ts'
import { type RelayEnv, parseSettings } from './settings.ts'
import { RelaySink } from './sink.ts'

type App = ReturnType<typeof createApp>

// Plain data, and made once for all requests of an isolate, whose bindings and variables do not change.
let app: App | undefined

/** The Worker: the gateway's HTTP interface in front of the relay's objects. */
export const worker = {
  fetch(request: Request, env: RelayEnv, context: RequestContext): Promise<Response> {
    app ??= createRelayApp(env)
    const response = Promise.resolve(app.fetch(request, env))
    // whoever posted may be gone before it is stored, and what is begun is to be brought to an end
    context.waitUntil(response)
    return response
  },
}

/** The gateway's app for Workers: `app.fetch(request)`. With settings that make no sense it answers, and takes nothing. */
export function createRelayApp(env: RelayEnv): App {
  const onError = (error: unknown): void => console.error('zibrato relay: a request failed:', error)
  try {
    const { tokens, groups, location, upstream } = parseSettings(env)
    const objects = new Objects({ namespace: env.RELAY, groups, location })
    return createApp({
      sink: new RelaySink(objects, upstream.token ?? ''),
      tokens,
      keyedOnly: true,
      metrics: async () => relayMetrics(await objects.figures()),
      obstacle: async () => relayObstacle(await objects.figures()),
      onError,
    })
  } catch (error) {
    const { message } = error as Error
    console.error(`zibrato relay: ${message}`)
    return createApp({ sink: new ClosedSink(message), onError })
  }
}

/** Takes nothing, and says why. */
class ClosedSink implements Sink {
  readonly full = true
  readonly #obstacle: string

  constructor(obstacle: string) {
    this.#obstacle = obstacle
  }

  obstacle(): string {
    return this.#obstacle
  }

  record(): string {
    return this.#obstacle
  }

  sealed(): Promise<boolean> {
    return Promise.resolve(false)
  }

  offer(): boolean {
    return false
  }

  connected(): boolean {
    return false
  }
}
