import { type BackendUrl, parseBackendUrl } from '../../backends/url.ts'
import { parseToken, type TokenSpec } from '../../gateway/auth.ts'
import { type Flag, many, one, optional, toggle } from './flag.ts'
import * as value from './values.ts'

const BROKER = 'tcp://127.0.0.1:5550'

/** Every flag there is. A command may give one another default or another help. */
export const config: Flag<string | undefined> = optional(
  'config',
  'file',
  'read settings from a JSON file',
  (path) => path,
)

export const logLevel: Flag<string> = one(
  'log-level',
  'level',
  'debug, info, warn, error or silent',
  (text) => value.choice(text, ['debug', 'info', 'warn', 'error', 'silent']),
  'info',
)

export const host: Flag<string> = one(
  'host',
  'address',
  'listen at this address of this machine',
  value.host,
  '127.0.0.1',
)

export const port: Flag<number> = one(
  'port',
  'number',
  "publishers' port, subscribers' is the next one; 0 picks two free ones",
  (text) => value.port(text, 65_534),
  '5550',
)

export const http: Flag<number | undefined> = one(
  'http',
  'port',
  'HTTP port; 0 picks a free one, "off" is none',
  value.portOrOff,
  '8080',
)

export const udp: Flag<number | undefined> = one(
  'udp',
  'port',
  'take StatsD lines at this UDP port; 0 picks a free one, "off" is none',
  value.portOrOff,
  '8125',
)

export const udpBuffer: Flag<number | undefined> = optional(
  'udp-buffer',
  'bytes',
  'receive buffer of the UDP port; unless given, 4194304 or what the system allows',
  (text) => value.wholeNumber(text, 1 << 30),
)

export const udpLevel: Flag<string> = one(
  'udp-level',
  'level',
  'level of StatsD lines, however they come',
  value.level,
  'info',
)

export const tcp: Flag<number | undefined> = one(
  'tcp',
  'port',
  'take StatsD lines at this TCP port; 0 picks a free one, "off" is none',
  value.portOrOff,
  'off',
)

export const unix: Flag<string | undefined> = optional(
  'unix',
  'path',
  'take StatsD lines, and what unixstream:// clients send, at this Unix socket',
  value.socketPath,
)

export const unixDatagram: Flag<string | undefined> = optional(
  'unix-datagram',
  'path',
  'take StatsD datagrams at this Unix socket; needs the package unix-dgram',
  value.socketPath,
)

export const unixMode: Flag<number> = one(
  'unix-mode',
  'mode',
  'permissions of Unix sockets, in octal: who may write may send',
  value.fileMode,
  '0666',
)

export const gatewayFlush: Flag<number> = one(
  'gateway-flush',
  'duration',
  'how long StatsD lines are added up before they go to the broker',
  (text) => value.duration(text, '10ms', '1m'),
  '250ms',
)

export const statsdConfig: Flag<string | undefined> = optional(
  'statsd-config',
  'file',
  'do what this configuration file of statsd says: where to listen, what to flush, when and whereto',
  (path) => path,
)

export const brokers: Flag<readonly string[]> = many(
  'broker',
  'url',
  "take from this broker, by its publishers' port",
  value.brokerUrl,
  BROKER,
)

export const broker: Flag<string> = one(
  'broker',
  'url',
  "publish to this broker, by its publishers' port",
  value.brokerUrl,
  BROKER,
)

export const levels: Flag<readonly string[] | undefined> = optional(
  'levels',
  'list',
  'take these levels only',
  value.levels,
)

export const flush: Flag<number> = one(
  'flush',
  'duration',
  'length of a window: 250ms, 10s, 1m; a bare number is seconds',
  (text) => value.duration(text, '100ms', '24h'),
  '10s',
)

export const to: Flag<readonly BackendUrl[]> = many(
  'to',
  'url',
  'hand windows to this backend: console:, file:metrics.jsonl',
  (text) => parseBackendUrl(text),
  'console:',
)

export const state: Flag<string> = one(
  'state',
  'url',
  'where counts live until they are delivered: memory:, file:DIR or redis://HOST',
  (text) => text,
  'memory:',
)

export const journal: Flag<boolean> = toggle(
  'journal',
  'use the journal in the Redis of --state: gateway and broker write what comes before it counts as taken, workers read it',
)

export const journalState: Flag<string | undefined> = optional(
  'state',
  'url',
  "with --journal: the workers' Redis, as they have it",
  (text) => text,
)

export const group: Flag<string> = one(
  'group',
  'name',
  'workers of one name share their state and settings',
  value.group,
  'default',
)

export const idle: Flag<'skip' | 'zero' | 'repeat'> = one(
  'idle',
  'how',
  'series without data: skip them, say zero, or repeat gauges',
  (text) => value.choice(text, ['skip', 'zero', 'repeat']),
  'skip',
)

export const percentiles: Flag<readonly number[] | undefined> = optional(
  'percentiles',
  'list',
  'percentiles of timers and histograms, such as 50,90,99.9',
  value.percentiles,
)

export const maxSeries: Flag<number> = one(
  'max-series',
  'count',
  'series per shard at the most (there are 32 shards)',
  (text) => value.wholeNumber(text),
  '1000000',
)

export const tokens: Flag<readonly TokenSpec[]> = many(
  'token',
  'name=secret',
  'who may post: NAME=SECRET, or NAME=$VAR from the environment',
  (text) => parseToken(text, process.env),
)

export const tokensFile: Flag<readonly TokenSpec[] | undefined> = optional(
  'tokens',
  'file',
  'who may post: a file of lines NAME=SECRET, or JSON',
  value.tokensFile,
)

export const insecure: Flag<boolean> = toggle('insecure', 'listen beyond this machine without tokens or CURVE keys')

export const curveSecretKey: Flag<string | undefined> = optional(
  'curve-secret-key',
  'from',
  "the broker's secret CURVE key, from $VAR or a file: encrypt, and let in who has the public one",
  value.curveKey,
)

export const curveServerKey: Flag<string | undefined> = optional(
  'curve-server-key',
  'from',
  "the broker's public CURVE key, from $VAR or a file",
  value.curveKey,
)

export const grace: Flag<number> = one(
  'grace',
  'duration',
  'on stopping, go on forwarding this long while publishers are connected',
  (text) => value.duration(text, '0ms', '1h'),
  '2s',
)

export const stopTimeout: Flag<number> = one(
  'stop-timeout',
  'duration',
  'on stopping, wait this long for those who do not take what is left',
  (text) => value.duration(text, '0ms', '1h'),
  '10s',
)

export const json: Flag<boolean> = toggle('json', 'print one JSON object a line')

export const force: Flag<boolean> = toggle('force', 'forget a group though workers of it live')

export const url: Flag<string | undefined> = optional(
  'url',
  'url',
  'send to this gateway instead of a broker',
  value.publishUrl,
)

export const token: Flag<string | undefined> = optional(
  'token',
  'secret',
  "the gateway's token; $VAR takes it from the environment",
  value.secret,
)

export const level: Flag<string> = one('level', 'level', 'level of measurements that say none', value.level, 'info')

export const source: Flag<string | undefined> = optional(
  'source',
  'name',
  'source of measurements that say none',
  value.source,
)

export const tag: Flag<readonly (readonly [key: string, value: string])[]> = many(
  'tag',
  'key=value',
  'a tag of all measurements',
  value.tag,
)

export const timeout: Flag<number> = one(
  'timeout',
  'duration',
  'give up when nobody has taken it after this long',
  (text) => value.duration(text, '1ms', '1h'),
  '5s',
)

export const subscribersHost: Flag<string> = one('host', 'name', "the broker's host", value.brokerHost, '127.0.0.1')

export const subscribersPort: Flag<number> = one(
  'port',
  'number',
  "the broker's port for subscribers, one above that for publishers",
  value.subscribersPort,
  '5551',
)

export const flushBySeconds: Flag<number> = one(
  'flush',
  'duration',
  'length of a window, from a second up: 10s, 1m; a bare number is seconds',
  (text) => value.duration(text, '1s', '24h'),
  '60',
)

export const username: Flag<string | undefined> = optional(
  'username',
  'email',
  'user of the Librato account',
  value.secret,
)

export const apitoken: Flag<string | undefined> = optional(
  'apitoken',
  'token',
  'its API token; $VAR takes it from the environment',
  value.secret,
)

export const api: Flag<'metrics' | 'measurements'> = one(
  'api',
  'name',
  'metrics, with sources, or measurements, with tags',
  (text) => value.choice(text, ['metrics', 'measurements']),
  'metrics',
)

export const endpoint: Flag<string> = one(
  'endpoint',
  'url',
  'where the API is',
  value.endpoint,
  'https://metrics-api.librato.com',
)
