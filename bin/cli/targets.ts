import type { Backend } from '../../backends/backend.ts'
import { inDoubtOf, openBackend } from '../../backends/open.ts'
import type { BackendUrl } from '../../backends/url.ts'
import type { Target } from '../../backends/worker/index.ts'
import { UsageError } from '../../client/errors.ts'

/** How long one flush may take when the backend's URL does not say. */
const TIMEOUT_MS = 20_000

/** What answers at a path of an HTTP port. */
export type Routes = Readonly<Record<string, (request: Request) => Response | Promise<Response>>>

/**
 * The backends that `--to` names, not connected yet.
 *
 * @param said where they are named
 * @throws UsageError for an option or module that makes no sense, and for two that state could not tell apart
 */
export async function openTargets(urls: readonly BackendUrl[], said = '--to'): Promise<Target[]> {
  const targets: Target[] = []
  for (const url of urls) {
    const { key, label } = url
    if (targets.some((other) => other.key === key)) {
      throw new UsageError(`${said}: ${label} is named twice; remove one, or tell them apart with ?known-as=NAME`)
    }
    const backend = await open(url, said)
    const timeoutMs = backend.timeoutMs ?? url.timeoutMs ?? TIMEOUT_MS
    targets.push({ backend, key, label, inDoubt: inDoubtOf(backend, url), timeoutMs })
  }
  return targets
}

async function open(url: BackendUrl, said: string): Promise<Backend> {
  try {
    return await openBackend(url)
  } catch (cause) {
    if (!(cause instanceof UsageError)) throw cause
    throw new UsageError(`${said}: ${cause.message}`, { cause })
  }
}

/**
 * What backends want answered on the HTTP port of the process they are in, by path.
 *
 * @param obstacle why there is no such port, and the way out; undefined when there is one
 * @throws UsageError when there is none, or two want the same path
 */
export function routesOf(targets: readonly Target[], obstacle?: string): Routes {
  const routes: Record<string, Routes[string]> = {}
  for (const { backend, label } of targets) {
    const { route } = backend
    if (route === undefined || backend.handle === undefined) continue
    if (obstacle !== undefined) throw new UsageError(`--to ${label}: ${obstacle}`)
    if (Object.hasOwn(routes, route)) {
      throw new UsageError(`--to ${label}: another backend is served at ${route}; give one of them a host and port`)
    }
    routes[route] = (request) => (backend as Required<Pick<typeof backend, 'handle'>>).handle(request)
  }
  return routes
}
