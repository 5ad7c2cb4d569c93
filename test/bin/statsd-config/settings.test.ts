import { describe, expect, it } from 'vitest'
import { type StatsdConfig, statsdConfig } from '../../../bin/cli/statsd-config.ts'

function read(text: string): StatsdConfig {
  return statsdConfig(text, 'config.js')
}

/** The options of the graphite backend's URL. */
function graphite(text: string): Record<string, string> {
  const [url] = read(`{ graphiteHost: "g", ${text} }`).to
  const { 'known-as': _, ...options } = Object.fromEntries(new URL(url?.url ?? '').searchParams)
  return options
}

function notes(text: string): string[] {
  return read(text).notes.map(({ setting, line, reason }) => `${line} ${setting}: ${reason}`)
}

describe("a statsd configuration's settings", () => {
  it('are by default those of statsd', () => {
    const { to, ...rest } = read('{ graphiteHost: "graphite.example.com" }')
    expect(to.map(({ url }) => url)).toEqual([
      'graphite://graphite.example.com:2003?known-as=graphite.example.com%3A2003',
    ])
    expect(to.map(({ key }) => key)).toEqual(['graphite#graphite.example.com:2003'])
    const days = 30 * 8_640
    expect(rest).toEqual({
      flush: 10_000,
      idle: { counter: days, timer: days, histogram: days, set: days, gauge: days },
      servers: [{ kind: 'udp', host: '0.0.0.0', port: 8125 }],
      sanitize: true,
      prefixStats: 'statsd',
      debug: false,
      notes: [],
    })
  })

  it('that are 0, empty or null are as good as none, as in statsd', () => {
    const nothing = '{ port: 0, address: "", flushInterval: 0, graphiteHost: null, backends: undefined, servers: null }'
    expect(read(nothing)).toEqual({ ...read('{}'), notes: [] })
  })

  it('may be numbers in quotes, and single values for lists', () => {
    const { flush, servers } = read('{ flushInterval: "2000", port: "8200" }')
    expect([flush, servers[0]?.port]).toEqual([2_000, 8200])
    expect(graphite('percentThreshold: "95"')).toEqual({ percentThreshold: '95' })
  })

  it('become options of the graphite backend', () => {
    expect(
      graphite(`
        percentThreshold: [50, 99.9, -10], flush_counts: false, prefixStats: "$self", keyNameSanitize: false,
        calculatedTimerMetrics: ["count", "upper_percent"],
        histogram: [{ metric: "a:b", bins: [0.5, 1, "inf"] }, { metric: "", bins: [] }],
        graphite: { legacyNamespace: false, globalPrefix: "", prefixCounter: "c", prefixTimer: "t", prefixGauge: "g",
          prefixSet: "s", globalSuffix: 'a&b' },`),
    ).toEqual({
      percentThreshold: '50,99.9,-10',
      flush_counts: 'no',
      prefixStats: '$self',
      keyNameSanitize: 'no',
      calculatedTimerMetrics: 'count,upper_percent',
      histogram: ':',
      legacyNamespace: 'no',
      globalPrefix: '',
      prefixCounter: 'c',
      prefixTimer: 't',
      prefixGauge: 'g',
      prefixSet: 's',
      globalSuffix: 'a&b',
    })
    const [url] = read('{ graphiteHost: "::1", graphitePort: 9, histogram: [{ metric: "a:b", bins: [1, "inf"] }] }').to
    expect([url?.host, url?.port, url?.params.list('histogram')]).toEqual(['::1', 9, ['a:b:1,inf']])
    expect(url?.key).toBe('graphite#::1:9')
  })

  it('name backends, each once', () => {
    const backends = ['./backends/console', './backends/graphite', './backends/console.js']
    const text = (host: string): string => `{ backends: ${JSON.stringify(backends)}, ${host} }`
    expect(read(text('graphiteHost: "g"')).to.map(({ label }) => label)).toEqual([
      'console:?rows=all',
      'graphite#g:2003',
    ])
    // without a host statsd sends nothing
    expect(read(text('')).to.map(({ label }) => label)).toEqual(['console:?rows=all'])
    expect(read('{}').to).toEqual([])
  })

  it.each([
    ['', [0, 0, 0, 0, 0]],
    ['deleteIdleStats: true', [1, 1, 1, 1, 1]],
    ['deleteIdleStats: true, deleteTimers: false', [1, 0, 0, 1, 1]],
    ['deleteCounters: true', [1, 0, 0, 0, 0]],
    ['deleteTimers: 1', [0, 1, 1, 0, 0]],
    ['deleteSets: true', [0, 0, 0, 1, 0]],
    ['deleteGauges: true, gaugesMaxTTL: 1.5', [0, 0, 0, 0, 1]],
    ['gaugesMaxTTL: 5', [0, 0, 0, 0, 0]],
  ])('say what becomes of idle series: %s', (text, deleted) => {
    const { counter, timer, histogram, set, gauge } = read(`{ ${text} }`).idle
    expect([counter, timer, histogram, set, gauge]).toEqual(deleted.map((is) => (is === 1 ? 0 : 259_200)))
  })

  it('keep gauges for the cycles that they are given', () => {
    expect(read('{ deleteGauges: true, gaugesMaxTTL: 5 }').idle.gauge).toBe(4)
    expect(read('{ deleteIdleStats: true, gaugesMaxTTL: 2 }').idle.gauge).toBe(1)
  })

  it('say where to listen', () => {
    const { servers, notes: left } = read(`{
      servers: [
        { server: "./servers/udp", address: "10.0.0.1", port: 8100 },
        { address_ipv6: true },
        { server: "./servers/tcp", address: "127.0.0.1", port: 8101 },
        { server: "./servers/tcp", socket: "/run/statsd.sock", socket_mod: 0660 },
        { server: "./servers/tcp.js", socket: "/run/b.sock", socket_mod: '600' },
      ] }`)
    expect(servers).toEqual([
      { kind: 'udp', host: '10.0.0.1', port: 8100 },
      { kind: 'udp', host: '::', port: 8125 },
      { kind: 'tcp', host: '127.0.0.1', port: 8101 },
      { kind: 'unix', host: '/run/statsd.sock', port: 0, mode: 0o660 },
      { kind: 'unix', host: '/run/b.sock', port: 0, mode: 0o600 },
    ])
    expect(left).toEqual([])
    expect(read('{ server: "./servers/tcp", address: "::1", port: 1 }').servers).toEqual([
      { kind: 'tcp', host: '::1', port: 1 },
    ])
    expect(['::', '0.0.0.0']).toContain(read('{ server: "./servers/tcp" }').servers[0]?.host)
  })
})

describe('a setting that is not honoured', () => {
  it('is named with its line and the reason, one by one', () => {
    const text = `{
      graphiteHost: "g", graphiteProtocol: "pickle",
      mgmt_port: 8126, mgmt_address: "127.0.0.1", healthStatus: "down",
      title: "statsd", dumpMessages: true, keyFlush: { interval: 1000 },
      console: { prettyprint: true }, log: { backend: "syslog" },
      repeater: [{ host: "a", port: 1 }], repeaterProtocol: "tcp", automaticConfigReload: true,
      backends: ["./backends/graphite", "statsd-influxdb-backend"], influxdb: { host: "i" },
      graphite: { prefixCounter: "c", mystery: 1 }, socket: "/x", __proto__: { port: 1 },
      histogram: [{ metric: "a", bins: [1], colour: "red" }],
      automaticConfigReload: true
    }`
    const found = notes(text)
    expect(found.map((note) => note.replace(/:.*/, ''))).toEqual([
      '2 graphiteProtocol',
      '3 mgmt_port',
      '3 mgmt_address',
      '3 healthStatus',
      '4 title',
      '4 dumpMessages',
      '4 keyFlush',
      '5 console',
      '5 log',
      '6 repeater',
      '6 repeaterProtocol',
      '7 backends',
      '7 influxdb',
      '8 graphite.prefixCounter',
      '8 graphite.mystery',
      '8 socket',
      '8 __proto__',
      '9 histogram.0.colour',
      '10 automaticConfigReload',
    ])
    expect(found.join('\n')).toContain('"statsd-influxdb-backend": backends of statsd cannot be loaded')
    expect(found.join('\n')).toContain('influxdb: not a setting of statsd 0.9')
    expect(read(text).servers[0]?.port).toBe(8125)
  })

  it('is not named where nothing is missed', () => {
    const text = `{ automaticConfigReload: false, dumpMessages: false, title: false, healthStatus: "up", debug: true,
      graphiteProtocol: "text", graphitePicklePort: 2004, keyFlush: undefined, graphite: { legacyNamespace: true } }`
    expect(notes(text)).toEqual([])
    expect(read(text).debug).toBe(true)
  })

  it('may be a server that is none of statsd, or stands beside servers', () => {
    const { servers, notes: left } = read(
      '{ port: 1, servers: [{ server: "./servers/mine", port: 2 }, { socket: "/x" }] }',
    )
    expect(servers).toEqual([{ kind: 'udp', host: '0.0.0.0', port: 8125 }])
    expect(left.map(({ setting }) => setting)).toEqual(['port', 'servers.0.server', 'servers.1.socket'])
  })
})

describe('a setting that makes no sense', () => {
  it.each([
    ['{\n  port: "abc" }', 'config.js:2:9: port must be a whole number from 0 to 65535'],
    ['{ port: 70000 }', 'config.js:1:9: port must be'],
    ['{ flushInterval: 99 }', 'config.js: flushInterval 99 is in milliseconds and must be 100 or more'],
    ['{ flushInterval: 1e9 }', 'config.js:1:18: flushInterval must be a number from 0 to 86400000'],
    ['{ deleteIdleStats: "false" }', 'config.js:1:20: deleteIdleStats must be true or false'],
    ['{ graphite: 1 }', 'config.js:1:13: graphite must be an object'],
    ['{ graphite: { globalPrefix: true } }', 'config.js:1:29: graphite.globalPrefix must be a text'],
    ['{ percentThreshold: [90, "many"] }', 'config.js:1:26: percentThreshold must be a number from -100 to 100'],
    ['{ servers: [{ port: -1 }] }', 'config.js:1:21: servers.0.port must be a whole number'],
    ['{ server: "./servers/tcp", socket: "/x", socket_mod: "rw" }', 'config.js:1:54: socket_mod must be permissions'],
    ['{ address: process.env.HOST }', 'config.js:1:12: address: "process.env.HOST" would have to be executed'],
  ])('is refused with its place: %s', (text, message) => {
    expect(() => read(text)).toThrow(message)
  })
})
