import { networkInterfaces } from 'node:os'
import type { SettingsReader } from './reader.ts'

/** Where statsd would listen for lines. */
export interface StatsdServer {
  readonly kind: 'udp' | 'tcp' | 'unix'
  /** An address; of a `unix` one, the path of its socket. */
  readonly host: string
  /** 0 of a `unix` one. */
  readonly port: number
  /** Permissions of a `unix` one's file. */
  readonly mode?: number
}

const PORT = 8125

/** The servers of `servers`, else the one that the settings around it make. */
export function readServers(reader: SettingsReader): StatsdServer[] {
  const list = reader.objects('servers')
  if (list !== undefined) {
    for (const name of ['server', 'port', 'address', 'address_ipv6', 'socket', 'socket_mod']) {
      reader.note(name, 'as in statsd it changes nothing beside servers; say it there')
    }
  }
  return (list ?? [reader]).flatMap((server) => {
    const found = readServer(server)
    if (list !== undefined) server.noteUnknown('not a setting of statsd 0.9')
    return found === undefined ? [] : [found]
  })
}

function readServer(reader: SettingsReader): StatsdServer | undefined {
  const module = reader.text('server') ?? './servers/udp'
  const [, kind] = /^\.\/servers\/(udp|tcp)(?:\.js)?$/.exec(module) ?? []
  const isIpv6 = reader.flag('address_ipv6') ?? false
  // as in statsd, 0 and an empty address are none
  const port = reader.number('port', { min: 0, max: 65_535, whole: true }) || PORT
  // where nothing is said, statsd listens at all addresses; over TCP at those of IPv6 too
  const host = reader.text('address') || (isIpv6 || (kind === 'tcp' && hasIpv6()) ? '::' : '0.0.0.0')
  const socket = kind === 'tcp' ? reader.text('socket') : undefined
  const mode = readMode(reader)
  if (kind === undefined) {
    reader.note(
      'server',
      `${JSON.stringify(module)}: servers of statsd cannot be loaded; it listens at ./servers/udp and ./servers/tcp`,
    )
    return undefined
  }
  if (kind === 'udp') reader.note('socket', 'as in statsd it is for ./servers/tcp alone')
  if (socket === undefined || socket === '') return { kind: kind as 'udp' | 'tcp', host, port }
  return { kind: 'unix', host: socket, port: 0, ...(mode === undefined ? {} : { mode }) }
}

/** Permissions as Node's `chmod` takes them: a number, or a text in octal. */
function readMode(reader: SettingsReader): number | undefined {
  const constant = reader.take('socket_mod')
  if (constant === undefined) return undefined
  const { value } = constant
  const mode =
    typeof value === 'string' && /^(0o?)?[0-7]{1,4}$/.test(value) ? Number.parseInt(value.replace('o', ''), 8) : value
  if (typeof mode === 'number' && Number.isInteger(mode) && mode >= 0 && mode <= 0o777) return mode
  throw reader.wrong('socket_mod', constant, 'must be permissions such as 0o660')
}

function hasIpv6(): boolean {
  return Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ family }) => family === 'IPv6'))
}
