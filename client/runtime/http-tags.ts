import type { Tags } from '../wire/series.ts'

// a client may make any up
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'CONNECT', 'TRACE'])

/** Tags of which there are few: the method, the class of the status (`2xx`) or what came in its place, and a route if there is one. */
export function httpTags(method: string | undefined, status: number | string, route: string | undefined): Tags {
  return {
    method: method !== undefined && METHODS.has(method) ? method : 'other',
    status: typeof status === 'number' ? `${Math.floor(status / 100)}xx` : status,
    route,
  }
}
