import { type Context, Hono } from 'hono'
import { type Answer, type ErrorCode, refuse } from './answers.ts'
import { exposition } from './figures.ts'
import { Intake, type IntakeOptions } from './intake.ts'

export interface AppOptions extends IntakeOptions {
  /** More of Prometheus' text for `/metrics`: what broker and worker of the same process say of themselves. */
  readonly metrics?: () => string | Promise<string>
  /** Why what is taken cannot go out, where it takes asking others; `/readyz` says it. */
  readonly obstacle?: () => Promise<string | undefined>
  /** More paths, and what answers GET there; as with `/metrics`, no token is asked for. */
  readonly routes?: Readonly<Record<string, (request: Request) => Response | Promise<Response>>>
  /** Told what went wrong inside; the client hears only that something did. */
  readonly onError?: (error: unknown) => void
  /** A quicker way to a header than a `Headers` object. `name` is in lower case. */
  readonly header?: (request: Request, env: unknown, name: string) => string | undefined
}

/**
 * The gateway's HTTP interface, for any runtime: `app.fetch(request)`. What it takes goes to `sink`.
 *
 * ```
 * POST /v1/metrics   JSON measurements, or a bundle of frames: 202 {"accepted":n,"rejected":[{"index","reason"}]}
 * GET  /healthz      200 while the process answers
 * GET  /readyz       200 while posts are taken and can go out, else 503
 * GET  /metrics      own figures, Prometheus text
 * ```
 */
export function createApp(options: AppOptions): Hono {
  const app = new Hono()
  const intake = new Intake(options)
  const answered: Record<string, number> = {}
  const header =
    options.header ?? ((request: Request, _env: unknown, name: string) => request.headers.get(name) ?? undefined)
  const respond = (answer: Answer): Response => {
    answered[answer.status] = (answered[answer.status] ?? 0) + 1
    return toResponse(answer)
  }
  const fail = (code: ErrorCode, message: string, headers?: Readonly<Record<string, string>>): Response =>
    respond(refuse(code, message, headers))

  app.post('/v1/metrics', async ({ req, env }) =>
    respond(await intake.answer(req.raw, (name) => header(req.raw, env, name))),
  )
  app.get('/healthz', () => toResponse({ status: 200, body: '{"status":"ok"}' }))
  app.get('/readyz', async () => {
    const obstacle = intake.obstacle() ?? (await options.obstacle?.())
    if (obstacle === undefined) return toResponse({ status: 200, body: '{"status":"ready"}' })
    return toResponse(refuse('not_ready', obstacle, { 'retry-after': '1' }))
  })
  app.get('/metrics', async (context: Context) => {
    const text = figures(intake, answered) + ((await options.metrics?.()) ?? '')
    return context.body(text, 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
  })
  const routes = Object.entries(options.routes ?? {})
  for (const [path, answer] of routes) app.get(path, ({ req }) => answer(req.raw))
  app.all('/v1/metrics', () => fail('method_not_allowed', 'only POST is answered here', { allow: 'POST' }))
  for (const path of ['/healthz', '/readyz', '/metrics', ...routes.map(([added]) => added)]) {
    app.all(path, () => fail('method_not_allowed', 'only GET is answered here', { allow: 'GET, HEAD' }))
  }
  app.notFound(() => fail('not_found', 'there is nothing here; measurements go to POST /v1/metrics'))
  app.onError((error) => {
    options.onError?.(error)
    return fail('internal', 'something went wrong in the gateway; its log says what')
  })
  return app
}

const JSON_TYPE = { 'content-type': 'application/json' }

function toResponse({ status, body, headers }: Answer): Response {
  return new Response(body, { status, headers: headers === undefined ? JSON_TYPE : { ...JSON_TYPE, ...headers } })
}

function figures(intake: Intake, answered: Readonly<Record<string, number>>): string {
  const counter = (name: string, help: string, value: number) => ({
    name: `zibrato_gateway_${name}_total`,
    type: 'counter' as const,
    help,
    value,
  })
  return exposition([
    { ...counter('requests', 'Requests answered.', 0), value: answered, label: 'status' },
    counter('measurements', 'JSON measurements taken.', intake.measurements),
    counter('frames', 'Frames taken.', intake.frames),
    counter('rejected', 'Measurements and frames refused.', intake.rejected),
    counter('body_bytes', 'Bytes of bodies read, decompressed.', intake.bytes),
    counter('repeats', 'Posts answered as an earlier one with their key.', intake.keys.repeats),
    {
      name: 'zibrato_gateway_idempotency_keys',
      type: 'gauge',
      help: 'Idempotency keys held.',
      value: intake.keys.size,
    },
  ])
}
