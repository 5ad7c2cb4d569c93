import type { CurveKeys } from '../curve.ts'
import { UsageError } from '../errors.ts'
import type { Every, ZibratoOptions } from '../options.ts'
import type { Defaults } from '../registry/defaults.ts'
import { HttpTransport, type HttpTransportOptions } from '../transport/http.ts'
import { NowhereTransport } from '../transport/nowhere.ts'
import type { Transport } from '../transport/transport.ts'
import { publicUrl } from '../url.ts'
import type { WarningSink } from '../warning.ts'

/** How a runtime opens what a url names. */
export interface Openers {
  readonly env: (name: string) => string | undefined
  /** Where frames go when nothing says so; undefined: nowhere. */
  readonly defaultUrl: string | undefined
  /** A transport for a `tcp://` or `ipc://` url, where there is one. */
  readonly openTcp?: ((options: TcpOptions) => Transport) | undefined
  /** A transport for an `https://` url, where it is not the plain one. */
  readonly openHttp?: ((options: HttpTransportOptions) => Transport) | undefined
  readonly every?: Every | undefined
}

export interface TcpOptions {
  readonly url: string
  readonly curve: CurveKeys | undefined
  readonly format: 'frames' | 'text' | undefined
  readonly waitingBytes: number | undefined
  readonly sentBytes: number | undefined
  readonly warn: WarningSink
}

/** The transport that options and environment ask for. @throws UsageError */
export function openTransport(
  options: ZibratoOptions,
  defaults: Defaults,
  warn: WarningSink,
  { env, defaultUrl, openTcp, openHttp, every }: Openers,
): Transport {
  checkFormat(options, defaults)
  if (options.transport !== undefined) return options.transport
  const { host, port, format, waitingBytes, sentBytes } = options
  const short =
    host === undefined && port === undefined ? undefined : `tcp://${bracketed(host ?? '127.0.0.1')}:${port ?? 5550}`
  const url = options.url ?? short ?? env('ZIBRATO_URL') ?? defaultUrl
  if (url === undefined || url === '') {
    warn({ code: 'ZIBRATO_NO_URL', message: 'no url and no ZIBRATO_URL: measurements go nowhere' })
    return new NowhereTransport()
  }
  if (/^https?:\/\//i.test(url)) {
    if (format === 'text') {
      throw new UsageError(`Zibrato: format 'text' goes to a broker; give its tcp:// url, or leave out format`)
    }
    const http = { url, token: options.token ?? env('ZIBRATO_TOKEN'), waitingBytes, every, warn }
    return openHttp?.(http) ?? new HttpTransport(http)
  }
  if (/^(tcp:\/\/.+:\d+|ipc:\/\/.+)$/.test(url)) {
    if (openTcp === undefined) {
      throw new UsageError(
        `Zibrato: ${publicUrl(url)} needs raw sockets, which there are none of here; use the gateway's https:// url`,
      )
    }
    return openTcp({ url, curve: options.curve, format, waitingBytes, sentBytes, warn })
  }
  throw new UsageError(`Zibrato: url ${JSON.stringify(publicUrl(url))} is neither tcp://host:port nor https://...`)
}

/** @throws UsageError for a format that is none, or that cannot say what every instrument would have to */
function checkFormat({ format, transport }: ZibratoOptions, { source, tags }: Defaults): void {
  if (format === undefined || format === 'frames') return
  if (format !== 'text') {
    throw new UsageError(`Zibrato: format ${JSON.stringify(format)} is neither 'frames' nor 'text'`)
  }
  if (transport !== undefined) {
    throw new UsageError(`Zibrato: format 'text' goes to a broker's tcp:// url; leave out transport, or format`)
  }
  if (source.includes('|') || Object.keys(tags).length > 0) {
    throw new UsageError(`Zibrato: text lines have no tags and no "|" in a source; leave them out, or format: 'text'`)
  }
}

function bracketed(host: string): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
}
