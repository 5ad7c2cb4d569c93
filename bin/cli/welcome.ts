import { relative, sep } from 'node:path'
import type { FlushSettings } from './worker.ts'

export interface WelcomeOptions {
  readonly publishers: string
  readonly subscribers: string
  /** Where programs on this machine find the broker. */
  readonly connect: string
  /** Where the gateway listens; undefined: nowhere. */
  readonly http: string | undefined
  /** Where StatsD lines are taken; undefined: nowhere. */
  readonly udp: string | undefined
  readonly isTokenNeeded: boolean
  readonly isEncrypted: boolean
  readonly settings: FlushSettings
}

/** What a person who has just started everything wants to know: where it listens, and lines to paste. */
export function welcome(options: WelcomeOptions): string {
  const { publishers, subscribers, http, udp, settings } = options
  const seconds = settings.flush / 1000
  return [
    '',
    '  Zibrato listens:',
    ...(http === undefined ? [] : [`    HTTP         ${http}/v1/metrics`]),
    ...(udp === undefined ? [] : [`    StatsD       ${udp}`]),
    `    publishers   ${publishers}`,
    `    subscribers  ${subscribers}`,
    `  Every ${seconds === 1 ? 'second' : `${seconds} seconds`} what was measured goes to ${settings.to.join(' and ')}.`,
    '',
    '  To see a metric arrive, paste one of these into another terminal:',
    '',
    ...pastes(options).map((line) => `    ${line}`),
    '',
    '  Ctrl-C delivers what is there and stops.',
    '',
    '',
  ].join('\n')
}

function pastes({ connect, http, udp, isTokenNeeded, isEncrypted }: WelcomeOptions): string[] {
  const lines: string[] = []
  if (http !== undefined) {
    const token = isTokenNeeded ? ` -H "authorization: Bearer $TOKEN"` : ''
    lines.push(
      `curl ${http}/v1/metrics -H "content-type: application/json"${token} -d '[{"type":"counter","name":"hello","value":1}]'`,
    )
  }
  if (udp !== undefined) {
    const [, host = '', port = ''] = /^udp:\/\/\[?(.*?)\]?:(\d+)$/.exec(udp) ?? []
    const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
    lines.push(`echo -n "hello:1|c" | nc -u -w0 ${reachable} ${port}`)
  }
  const isDefault = connect === 'tcp://127.0.0.1:5550'
  const key = isEncrypted ? ' --curve-server-key FILE' : ''
  lines.push(`${called()} send counter hello 1${isDefault ? '' : ` --broker ${connect}`}${key}`)
  if (!isEncrypted) {
    const options = isDefault ? '' : `{ url: '${connect}' }`
    lines.push(
      `node --input-type=module -e "import { Zibrato } from 'zibrato'; const z = new Zibrato(${options}); z.counter('hello').inc(); await z.close()"`,
    )
  }
  return lines
}

/** How this program was called, as one would type it here. */
function called(): string {
  const path = relative(process.cwd(), process.argv[1] ?? '')
  return path.startsWith('..') || path.includes(`node_modules${sep}`) ? 'npx zibrato' : `node ${path}`
}
