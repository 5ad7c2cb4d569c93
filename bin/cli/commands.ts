import type { BrokerSettings } from './broker.ts'
import type { AnyCommand, Command } from './command.ts'
import type { Flag, Flags } from './flag.ts'
import * as flag from './flags.ts'
import type { GatewaySettings } from './gateway.ts'
import type { GroupsSettings } from './groups.ts'
import type { LibratoSettings } from './librato.ts'
import type { SendSettings } from './send.ts'
import type { StatsdSettings } from './statsd.ts'
import type { TailSettings } from './tail.ts'
import type { UpSettings } from './up.ts'
import type { WorkerSettings } from './worker.ts'
import type { WorkersSettings } from './workers.ts'

/** Where workers that share a group are looked at. */
const redis = withHelp(withDefault(flag.state, 'redis://127.0.0.1:6379'), 'the Redis that the workers share')

/** What takes StatsD lines, wherever it is a part. */
const statsd: Flags<StatsdSettings> = {
  udp: flag.udp,
  udpBuffer: flag.udpBuffer,
  udpLevel: flag.udpLevel,
  tcp: flag.tcp,
  unix: flag.unix,
  unixDatagram: flag.unixDatagram,
  unixMode: flag.unixMode,
  gatewayFlush: flag.gatewayFlush,
}

export const up: Command<UpSettings> = {
  name: 'up',
  summary: 'everything in one process: broker, gateway and flush worker',
  description:
    'Runs broker, gateway and flush worker in one process. Counts live in a directory until a backend has taken them, so a restart loses none.',
  flags: {
    host: flag.host,
    port: flag.port,
    http: flag.http,
    ...statsd,
    statsdConfig: flag.statsdConfig,
    levels: flag.levels,
    flush: flag.flush,
    to: flag.to,
    state: withDefault(flag.state, 'file:.zibrato'),
    journal: flag.journal,
    group: flag.group,
    idle: flag.idle,
    percentiles: flag.percentiles,
    maxSeries: flag.maxSeries,
    tokens: flag.tokens,
    tokensFile: flag.tokensFile,
    insecure: flag.insecure,
    curveSecretKey: flag.curveSecretKey,
    stopTimeout: flag.stopTimeout,
    logLevel: flag.logLevel,
  },
  examples: [
    ['show on this terminal, every second, what is measured', 'zibrato up --flush 1s'],
    ['append to a file what is measured at two levels', 'zibrato up --levels info,crit --to file:metrics.jsonl'],
    ['in place of statsd', 'zibrato up --statsd-config /etc/statsd/config.js'],
    [
      'open to other machines, for those who know a token or the public CURVE key',
      "zibrato up --host 0.0.0.0 --token 'web=$WEB_TOKEN' --curve-secret-key /etc/zibrato/broker.key",
    ],
  ],
  run: async (invocation) => (await import('./up.ts')).run(invocation),
}

export const broker: Command<BrokerSettings> = {
  name: 'broker',
  summary: 'forwards what publishers send to who subscribed to it',
  description: 'Runs a broker: publishers connect to its port, workers and other subscribers to the next one.',
  flags: {
    host: flag.host,
    port: flag.port,
    http: withHelp(
      withDefault(flag.http, 'off'),
      'port of /healthz, /readyz and /metrics; 0 picks a free one, "off" is none',
    ),
    journal: flag.journal,
    state: flag.journalState,
    insecure: flag.insecure,
    curveSecretKey: flag.curveSecretKey,
    grace: flag.grace,
    logLevel: flag.logLevel,
  },
  examples: [
    ['for programs on this machine', 'zibrato broker'],
    ['with its own figures at http://127.0.0.1:9100/metrics', 'zibrato broker --port 5550 --http 9100'],
    ['for other machines', "zibrato broker --host 0.0.0.0 --curve-secret-key '$ZIBRATO_BROKER_KEY'"],
    ['that writes a journal', "zibrato broker --journal --state 'redis://:$REDIS_PASSWORD@10.0.0.7'"],
  ],
  run: async (invocation) => (await import('./broker.ts')).run(invocation),
}

export const gateway: Command<GatewaySettings> = {
  name: 'gateway',
  summary: 'takes measurements over HTTP, and StatsD lines, and publishes them to a broker',
  description:
    'Runs a gateway: POST /v1/metrics takes JSON and bundles, and answers once they are on their way to a broker; StatsD and DogStatsD lines are taken over UDP, TCP and Unix sockets.',
  flags: {
    host: flag.host,
    http: flag.http,
    ...statsd,
    broker: flag.broker,
    journal: flag.journal,
    state: flag.journalState,
    tokens: flag.tokens,
    tokensFile: flag.tokensFile,
    insecure: flag.insecure,
    curveServerKey: flag.curveServerKey,
    stopTimeout: flag.stopTimeout,
    logLevel: flag.logLevel,
  },
  examples: [
    ['for programs on this machine', 'zibrato gateway --http 8080'],
    ['StatsD lines alone', 'zibrato gateway --http off --udp 8125 --unix /run/zibrato/statsd.sock'],
    ['for other machines; tokens from a file', 'zibrato gateway --host 0.0.0.0 --tokens /etc/zibrato/tokens'],
    [
      'towards a broker elsewhere',
      "zibrato gateway --broker tcp://10.0.0.5:5550 --curve-server-key '$ZIBRATO_BROKER_KEY'",
    ],
    [
      'answer only when it is in a journal, beside a broker that writes the same',
      "zibrato gateway --journal --state 'redis://:$REDIS_PASSWORD@10.0.0.7'",
    ],
  ],
  run: async (invocation) => (await import('./gateway.ts')).run(invocation),
}

export const worker: Command<WorkerSettings> = {
  name: 'worker',
  summary: 'aggregates what brokers forward and flushes it to backends',
  description: 'Runs a flush worker: takes what brokers forward, and hands each window to every backend.',
  flags: {
    brokers: flag.brokers,
    levels: flag.levels,
    flush: flag.flush,
    to: flag.to,
    state: flag.state,
    journal: flag.journal,
    group: flag.group,
    idle: flag.idle,
    percentiles: flag.percentiles,
    maxSeries: flag.maxSeries,
    host: withHelp(flag.host, 'with --http: listen at this address of this machine'),
    http: withHelp(
      withDefault(flag.http, 'off'),
      'port of /healthz, /readyz and /metrics; 0 picks a free one, "off" is none',
    ),
    insecure: withHelp(flag.insecure, 'with --http: listen beyond this machine'),
    curveServerKey: flag.curveServerKey,
    stopTimeout: flag.stopTimeout,
    logLevel: flag.logLevel,
  },
  examples: [
    [
      'keep counts over restarts, flush every 10 s to a file',
      'zibrato worker --state file:/var/lib/zibrato --to file:metrics.jsonl',
    ],
    [
      'take two levels from two brokers',
      'zibrato worker --broker tcp://10.0.0.5:5550 --broker tcp://10.0.0.6:5550 --levels warn,crit',
    ],
    [
      'one of several that share the work; started with the same line elsewhere, another takes its part',
      "zibrato worker --state 'redis://:$REDIS_PASSWORD@10.0.0.7' --group shop --to file:metrics.jsonl",
    ],
    ['your own backend', 'zibrato worker --to module:./my-backend.js --flush 1m'],
  ],
  run: async (invocation) => (await import('./worker.ts')).run(invocation),
}

export const workers: Command<WorkersSettings> = {
  name: 'workers',
  summary: 'shows the workers that share a group on Redis, and what each has',
  description:
    'Shows the workers of a group on Redis: since when they run, when they were last heard of, how far their logs are ahead of what was committed, what waits for backends, when they last committed, and which of the 32 shards they have. It changes nothing.',
  flags: {
    state: redis,
    group: withHelp(flag.group, 'whose workers'),
    json: withHelp(flag.json, 'print one JSON object, shard by shard too'),
  },
  examples: [
    ['on this machine', 'zibrato workers'],
    ['elsewhere', "zibrato workers --state 'redis://:$REDIS_PASSWORD@10.0.0.7' --group shop"],
  ],
  run: async (invocation) => (await import('./workers.ts')).run(invocation),
}

export const groups: Command<GroupsSettings> = {
  name: 'groups',
  summary: 'lists the groups of workers on Redis, and forgets them',
  description:
    'Lists groups on Redis with their settings, workers, shards committed and what waits for backends. "forget NAME" removes all that is kept of a group, also what backends have not taken.',
  argument: '[action...]',
  flags: {
    state: redis,
    json: withHelp(flag.json, 'print one JSON object a line, one for each group'),
    force: flag.force,
  },
  examples: [
    ['all there are', 'zibrato groups'],
    ['one that is no longer wanted', 'zibrato groups forget shop'],
  ],
  run: async (invocation) => (await import('./groups.ts')).run(invocation),
}

export const tail: Command<TailSettings> = {
  name: 'tail',
  summary: 'prints measurements as they pass a broker',
  description:
    'Prints what passes a broker, one series a line: when it was published, level, type, name, source, tags and values. It takes nothing away from anybody: what no worker takes passes as a copy, and waits on. Names may hold * and ?.',
  argument: '[names...]',
  flags: {
    brokers: flag.brokers,
    levels: flag.levels,
    json: flag.json,
    curveServerKey: flag.curveServerKey,
  },
  examples: [
    ['everything', 'zibrato tail'],
    ['what is called so, at two levels', "zibrato tail --levels warn,crit 'http.*' orders"],
    ['for other programs', 'zibrato tail --json | jq \'select(.type == "timer")\''],
  ],
  run: async (invocation) => (await import('./tail.ts')).run(invocation),
}

export const send: Command<SendSettings> = {
  name: 'send',
  summary: 'sends measurements from a shell',
  description:
    'Sends TYPE NAME VALUE: a counter, meter, gauge, histogram, timer (12ms, 0.5s) or set. With "-", each line of standard input is one measurement in JSON. It is done when a worker was sent it, or a gateway has taken it.',
  argument: '[measurement...]',
  flags: {
    broker: flag.broker,
    url: flag.url,
    token: flag.token,
    level: flag.level,
    source: flag.source,
    tags: flag.tag,
    timeout: flag.timeout,
    curveServerKey: flag.curveServerKey,
  },
  examples: [
    ['count 5 orders', 'zibrato send counter orders 5 --level info --source web --tag region=eu'],
    ['how long something took', 'zibrato send timer backup 12.5s'],
    ['through a gateway', "zibrato send gauge queue 17 --url https://metrics.example.com --token '$ZIBRATO_TOKEN'"],
    ['many', 'echo \'{"type":"counter","name":"orders","value":5}\' | zibrato send -'],
  ],
  run: async (invocation) => (await import('./send.ts')).run(invocation),
}

/** A program of its own, with the flags that Zibrato 0.2 gave it. */
export const librato: Command<LibratoSettings> = {
  name: 'zibrato-librato',
  summary: 'aggregates what a broker forwards and flushes it to Librato',
  description:
    "Runs a flush worker for Librato: takes what the broker at --host and --port forwards to subscribers, and posts each window. It is `zibrato worker --to 'librato://...'` with the flags of Zibrato 0.2.",
  flags: {
    host: flag.subscribersHost,
    port: flag.subscribersPort,
    levels: withDefault(flag.levels, 'test,debug,info'),
    flush: flag.flushBySeconds,
    username: flag.username,
    apitoken: flag.apitoken,
    api: flag.api,
    endpoint: flag.endpoint,
    source: flag.source,
    percentiles: withHelp(flag.percentiles, 'percentiles of timers and histograms to send, such as 95,99.9'),
    state: flag.state,
    journal: flag.journal,
    group: flag.group,
    idle: flag.idle,
    maxSeries: flag.maxSeries,
    http: withHelp(
      withDefault(flag.http, 'off'),
      'port of /healthz, /readyz and /metrics on this machine; 0 picks a free one, "off" is none',
    ),
    curveServerKey: flag.curveServerKey,
    stopTimeout: flag.stopTimeout,
    logLevel: flag.logLevel,
  },
  examples: [
    [
      'as with Zibrato 0.2; the token is in the environment',
      "zibrato-librato --host 127.0.0.1 --port 5551 --levels debug,info --flush 60 --username me@example.com --apitoken '$LIBRATO_TOKEN'",
    ],
    [
      'keep counts over restarts, with tags and two percentiles',
      "zibrato-librato --username me@example.com --apitoken '$LIBRATO_TOKEN' --state file:/var/lib/zibrato/librato --api measurements --percentiles 95,99",
    ],
  ],
  run: async (invocation) => (await import('./librato.ts')).run(invocation),
}

/** All commands of `zibrato`, in the order of the help. */
export const COMMANDS: readonly AnyCommand[] = [up, broker, gateway, worker, workers, groups, tail, send]

function withDefault<Value>(from: Flag<Value>, fallback: string): Flag<Value> {
  return { ...from, fallback, read: (texts) => from.read(texts.length === 0 ? [fallback] : texts) }
}

function withHelp<Value>(from: Flag<Value>, help: string): Flag<Value> {
  return { ...from, help }
}
