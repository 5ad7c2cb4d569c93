import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { performance } from 'node:perf_hooks'
import type { DiagnosticsChannel } from 'undici'
import { httpTags } from './http-tags.ts'
import type { Target } from './instruments.ts'

/** A request that is being made, as undici shows it. */
export type ClientRequest = Pick<DiagnosticsChannel.Request, 'origin' | 'path' | 'method'>

export type UndiciRoute = (request: ClientRequest) => string | undefined

type Message = { readonly request: DiagnosticsChannel.Request }

/** Requests that this program makes with `fetch` or undici, up to the end of the answer's body. */
export function observeUndici({ instruments, prefix }: Target, route: UndiciRoute): () => void {
  const timer = instruments.timer(`${prefix}http.client.requests`)
  const running = new WeakMap<DiagnosticsChannel.Request, { readonly startedMs: number; status: number }>()

  const end = (request: DiagnosticsChannel.Request, failed: boolean): void => {
    const entry = running.get(request)
    if (entry === undefined) return
    running.delete(request)
    const status = failed ? 'error' : entry.status
    timer.with(httpTags(request.method, status, route(request))).recordMs(performance.now() - entry.startedMs)
  }

  const listeners: Record<string, (message: unknown) => void> = {
    'undici:request:create': (message) => {
      running.set((message as Message).request, { startedMs: performance.now(), status: 0 })
    },
    'undici:request:headers': (message) => {
      const { request, response } = message as DiagnosticsChannel.RequestHeadersMessage
      const entry = running.get(request)
      if (entry !== undefined) entry.status = response.statusCode
    },
    'undici:request:trailers': (message) => end((message as Message).request, false),
    'undici:request:error': (message) => end((message as Message).request, true),
  }
  for (const [name, listener] of Object.entries(listeners)) subscribe(name, listener)
  return () => {
    for (const [name, listener] of Object.entries(listeners)) unsubscribe(name, listener)
  }
}
