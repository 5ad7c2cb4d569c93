/** Where the API of Datadog's first site is. */
export const HOST = 'api.datadoghq.com'

/** `datadoghq.eu` and `app.datadoghq.eu` are sites of Datadog, whose API is at `api.datadoghq.eu`. */
export function apiHost(host: string): string {
  if (host === '') return HOST
  if (host.includes(':')) return `[${host}]`
  const site = /^(?:app\.)?((?:[a-z0-9-]+\.)?(?:datadoghq\.(?:com|eu)|ddog-gov\.com))$/.exec(host)?.[1]
  return site === undefined || site.startsWith('api.') ? host : `api.${site}`
}
