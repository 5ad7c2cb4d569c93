import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { performance } from 'node:perf_hooks'
import { httpTags } from './http-tags.ts'
import type { Target } from './instruments.ts'

const START = 'http.server.request.start'

export type HttpRoute = (request: IncomingMessage, response: ServerResponse) => string | undefined

/**
 * Requests that this program's `http` and `https` servers answer, whoever made those. A request ends with its response's
 * `close`, which comes also for one whose client went away; the channel `http.server.response.finish` says nothing of those.
 */
export function observeHttp({ instruments, prefix }: Target, route: HttpRoute): () => void {
  const timer = instruments.timer(`${prefix}http.server.requests`)
  let active = 0
  const stopReading = instruments.gauge(`${prefix}http.server.active`, { combine: 'sum' }).observe(() => active)
  const started = new WeakMap<ServerResponse, { readonly request: IncomingMessage; readonly startedMs: number }>()
  let stopped = false

  // one function for all, so that a request costs no closure
  function onClose(this: ServerResponse): void {
    const entry = started.get(this)
    if (entry === undefined || stopped) return
    active--
    const { request, startedMs } = entry
    const status = this.writableFinished ? this.statusCode : 'aborted'
    timer.with(httpTags(request.method, status, route(request, this))).recordMs(performance.now() - startedMs)
  }

  function onStart(message: unknown): void {
    const { request, response } = message as { request: IncomingMessage; response: ServerResponse }
    active++
    started.set(response, { request, startedMs: performance.now() })
    response.on('close', onClose)
  }

  subscribe(START, onStart)
  return () => {
    stopped = true
    unsubscribe(START, onStart)
    stopReading()
  }
}
