import type { Backend } from './backend.ts'
import { BackendUrl, type Env, type InDoubt, parseBackendUrl } from './url.ts'

// one line per backend; each loads only when it is named. `influx` also answers to influx+http: and influx+https:
const SCHEMES: ReadonlyMap<string, (url: BackendUrl) => Promise<Backend>> = new Map([
  ['console', async (url: BackendUrl) => new (await import('./console.ts')).ConsoleBackend(url)],
  ['file', async (url: BackendUrl) => new (await import('./file.ts')).FileBackend(url)],
  ['statsd', async (url: BackendUrl) => new (await import('./statsd.ts')).StatsdBackend(url)],
  ['graphite', async (url: BackendUrl) => new (await import('./graphite.ts')).GraphiteBackend(url)],
  ['otlp', async (url: BackendUrl) => new (await import('./otlp.ts')).OtlpBackend(url)],
  ['influx', async (url: BackendUrl) => new (await import('./influx.ts')).InfluxBackend(url)],
  ['librato', async (url: BackendUrl) => new (await import('./librato.ts')).LibratoBackend(url)],
  ['datadog', async (url: BackendUrl) => new (await import('./datadog.ts')).DatadogBackend(url)],
  ['prometheus', async (url: BackendUrl) => new (await import('./prometheus.ts')).PrometheusBackend(url)],
  ['prometheus+http', async (url: BackendUrl) => new (await import('./remote-write.ts')).RemoteWriteBackend(url)],
  ['prometheus+https', async (url: BackendUrl) => new (await import('./remote-write.ts')).RemoteWriteBackend(url)],
  ['module', async (url: BackendUrl) => (await import('./module.ts')).openModule(url)],
])

/**
 * Makes the backend that a URL names; it is not connected yet. A scheme that is not built in loads the package
 * `zibrato-<scheme>`.
 *
 * @param url as text, or already parsed (then `env` is not used)
 * @throws UsageError for a URL, an option or a module that makes no sense, naming it without any secret
 */
export async function openBackend(url: string | BackendUrl, env: Env = process.env): Promise<Backend> {
  const parsed = typeof url === 'string' ? parseBackendUrl(url, env) : url
  const open = SCHEMES.get(parsed.scheme) ?? SCHEMES.get(parsed.scheme.replace(/\+.*/, ''))
  const backend =
    open === undefined
      ? await (await import('./module.ts')).openPackage(parsed, [...SCHEMES.keys()])
      : await open(parsed)
  parsed.params.refuseUnknown()
  return backend
}

/**
 * Whether a window in doubt is sent again: always to a backend that overwrites; else as the URL's `in-doubt` says, as the
 * backend would have it, or not at all.
 */
export function inDoubtOf(backend: Backend, url: BackendUrl): InDoubt {
  return backend.idempotent ? 'resend' : (url.inDoubt ?? backend.inDoubt ?? 'drop')
}
