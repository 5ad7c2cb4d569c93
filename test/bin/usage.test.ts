import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Playground } from '../flow/processes.ts'
import { zibrato } from './cli.ts'

const KEY = 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7'

/** Wrong words, and what the one line about them names. */
const WRONG: readonly (readonly [args: string, names: RegExp])[] = [
  ['', /no command was given; use one of up, broker, gateway, worker, workers, groups, tail, send/],
  ['sned', /unknown command 'sned' \(Did you mean send\?\); see zibrato --help/],
  ['up --htpp 1', /unknown option '--htpp' .*see zibrato up --help/],
  ['up extra', /too many arguments.* but got 1; see zibrato up --help/],
  ['help sned', /unknown command 'sned'; see zibrato --help/],
  ['up --port', /option '--port <number>' argument missing/],
  ['up --port x', /--port: "x" is no port; give a number in 1\.\.65534/],
  ['up --port 65535', /--port: "65535" is no port/],
  ['broker --port -1', /--port: "-1" is no port/],
  ['up --http 65536', /--http: "65536" is no port; .*"off"/],
  ['up --http no', /--http: "no" is no port/],
  ['gateway --journal', /--journal: needs the workers' Redis; give --state redis:\/\/HOST/],
  ['broker --journal --state file:x', /--journal: needs the workers' Redis/],
  ['worker --journal', /--journal: needs a Redis that gateway, broker and workers share; give --state redis:\/\/HOST/],
  ['up --journal', /--journal: needs a Redis/],
  ['gateway --http off --udp off', /--http: "off" leaves a gateway without --udp, --tcp and --unix nothing to do/],
  ['up --udp no', /--udp: "no" is no port; .*"off"/],
  ['up --tcp 65536', /--tcp: "65536" is no port; .*"off"/],
  ['up --udp-buffer 4M', /--udp-buffer: "4M" is no whole number/],
  ['up --udp-buffer 4294967296', /--udp-buffer: "4294967296" is no whole number in 1\.\.1073741824/],
  ['gateway --udp-level a|b', /--udp-level: .*"a\|b"/],
  ['gateway --unix-mode rw', /--unix-mode: "rw" are no permissions; write them in octal, such as 0660/],
  ['gateway --gateway-flush 1h', /--gateway-flush: "1h" must lie between 10ms and 1m/],
  [`gateway --unix ${'x'.repeat(120)}`, /unix: a socket's path has 1 to 10\d bytes, not 120; give another with --unix/],
  ['up --host a/b', /--host: "a\/b" is no address/],
  ['up --host no.such.host.invalid', /--host: host "no\.such\.host\.invalid" has no address/],
  ['worker --broker 127.0.0.1:5550', /--broker: "127\.0\.0\.1:5550" is no broker; write tcp:\/\/HOST:PORT/],
  ['worker --broker tcp://127.0.0.1:5550 --broker http://x', /--broker: "http:\/\/x" is no broker/],
  ['gateway --broker tcp://x', /--broker: "tcp:\/\/x" is no broker/],
  ['up --levels a|b', /--levels: .*"a\|b"/],
  ['up --levels info,,crit', /--levels: level must be a text/],
  ['up --flush often', /--flush: duration "often" is none; write/],
  ['up --flush 50ms', /--flush: "50ms" must lie between 100ms and 24h/],
  ['up --to nowhere', /--to: backend URL "nowhere" names no backend; write for example console:/],
  ['up --port 0 --http 0 --to foo:', /--to: .*zibrato-foo/],
  ['worker --to statsd:', /--to: statsd: .*names no host/],
  ['up --port 0 --http 0 --to console:?colour=red', /--to: console:.* unknown option "colour"/],
  ['up --port 0 --http 0 --to console: --to console:', /--to: console: is named twice; .*known-as/],
  ['up --port 0 --http 0 --to module:./missing.js', /--to: .*missing\.js/],
  ['up --port 0 --http 0 --state nowhere', /--state "nowhere" has no scheme/],
  ['worker --state redis+sentinel://localhost', /--state redis\+sentinel: names no master; write .*\/NAME/],
  ['up --group a/b', /--group: "a\/b" is no name/],
  ['up --idle maybe', /--idle: "maybe" is none of skip, zero, repeat/],
  ['up --percentiles 50,100', /--percentiles: "100" is no percentile/],
  ['up --max-series 0', /--max-series: "0" is no whole number/],
  ['up --token secret', /--token: a token has no name; write NAME=SECRET/],
  ['up --token web=$NOT_SET_ANYWHERE', /--token: token web: the environment variable that holds its secret is not set/],
  ['up --tokens missing', /--tokens: the file cannot be read \(ENOENT\); name a file/],
  [`up --curve-secret-key ${KEY}`, /--curve-secret-key: the file cannot be read .*never the key itself/],
  [
    'up --curve-secret-key $NOT_SET_ANYWHERE',
    /--curve-secret-key: the environment variable NOT_SET_ANYWHERE is not set/,
  ],
  ['up --curve-secret-key short.key', /--curve-secret-key: what the file holds is no CURVE key/],
  ['tail --curve-server-key missing', /--curve-server-key: the file cannot be read/],
  ['broker --grace soon', /--grace: duration "soon" is none/],
  ['worker --stop-timeout 2h', /--stop-timeout: "2h" must lie between 0ms and 1h/],
  ['up --log-level loud', /--log-level: "loud" is none of debug, info, warn, error, silent/],
  ['up --config missing.json', /--config: missing\.json cannot be read \(ENOENT\)/],
  ['up --config broken.json', /--config: broken\.json is no JSON/],
  ['up --config list.json', /--config: list\.json holds no JSON object/],
  ['up --config unknown.json', /--config: unknown\.json has a name "flash" that is no flag/],
  ['up --config wrong.json', /--config: "flush": duration "often" is none/],
  ['up --config nested.json', /--config: "to": is neither a text nor a number, nor a list of them/],
  ['send', /a type and a name are needed; write for example: zibrato send counter orders 5/],
  ['send counter', /a type and a name are needed/],
  ['send gauge queue', /a gauge needs a value; write for example: zibrato send gauge queue 5/],
  ['send count orders 5', /"count" is no type; use one of counter, timer/],
  ['send counter orders many', /"many" is no number/],
  ['send counter orders 5ms', /"5ms" is no number/],
  ['send timer db 5x', /"5x" is no number with a unit/],
  ['send counter orders 5 6', /"6" is one word too many/],
  ['send counter orders 5 --level |', /--level: .*"\|"/],
  ['send counter orders 5 --tag route', /--tag: "route" is no tag; write key=value/],
  ['send counter orders 5 --timeout never', /--timeout: duration "never" is none/],
  ['send counter orders 5 --url ftp://x', /--url: this is no URL of a gateway/],
  [
    'send counter orders 5 --url http://x --token $NOT_SET_ANYWHERE',
    /--token: the environment variable NOT_SET_ANYWHERE/,
  ],
  ['send counter orders 5 --url http://x --broker tcp://x:1', /--url and --broker are both given; leave one out/],
]

describe('wrong usage', () => {
  test(
    'ends with code 2 and one line that names the flag and the way out, each time',
    { timeout: 120_000 },
    async () => {
      await using ground = new Playground()
      const files = { 'broken.json': '{"token": ["s3cret', 'list.json': '[]', 'unknown.json': '{"flash": 1}' }
      const more = { 'wrong.json': '{"flush": "often"}', 'nested.json': '{"to": {"file": "x"}}', 'short.key': 'short' }
      for (const [name, text] of Object.entries({ ...files, ...more })) writeFileSync(join(ground.folder, name), text)
      const waiting = [...WRONG]
      const verdicts: unknown[] = []
      const next = async (): Promise<void> => {
        for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
          const [args, names] = item
          const { code, stdout, stderr } = await zibrato(
            ground,
            args.split(' ').filter((word) => word !== ''),
          )
          const lines = stderr.split('\n').filter((line) => line !== '')
          if (code !== 2 || stdout !== '' || lines.length !== 1 || !names.test(stderr))
            verdicts.push({ args, code, stdout, stderr })
          expect(stderr).not.toContain(KEY)
          expect(stderr).not.toContain('s3cret')
        }
      }
      await Promise.all([next(), next()])
      expect(verdicts).toEqual([])
    },
  )

  test('of the environment is named by its variable', async () => {
    await using ground = new Playground()
    const { code, stderr } = await zibrato(ground, ['up'], { env: { ZIBRATO_MAX_SERIES: 'lots' } })
    expect([code, stderr]).toEqual([2, 'zibrato: ZIBRATO_MAX_SERIES: "lots" is no whole number from 1 up\n'])
    const insecure = await zibrato(ground, ['up'], { env: { ZIBRATO_INSECURE: 'perhaps' } })
    expect([insecure.code, insecure.stderr]).toEqual([
      2,
      'zibrato: ZIBRATO_INSECURE: "perhaps" is neither yes nor no; write one of them\n',
    ])
  })

  test('names the directory that a state cannot use', async () => {
    await using ground = new Playground()
    writeFileSync(join(ground.folder, 'file'), '')
    chmodSync(join(ground.folder, 'file'), 0o600)
    const { code, stderr } = await zibrato(ground, ['up', '--port', '0', '--http', '0', '--state', 'file:file'])
    expect(code).toBe(2)
    expect(stderr.split('\n').at(-2)).toMatch(/^zibrato: state file:.*name a directory/)
  })
})

describe('listeners that others could reach', () => {
  test.each([
    [['up', '--host', '0.0.0.0'], /the gateway at 0\.0\.0\.0:8080 would be open to others; give --token .* --insecure/],
    [
      ['up', '--host', '0.0.0.0', '--token', 'web=abc'],
      /the broker at 0\.0\.0\.0:5550 .* give --curve-secret-key .* --insecure/,
    ],
    [['broker', '--host', '0.0.0.0'], /the broker at 0\.0\.0\.0:5550 would be open to others; give --curve-secret-key/],
    [['gateway', '--host', '::'], /the gateway at \[::\]:8080 would be open to others; give --token/],
    [
      ['gateway', '--host', '::', '--token', 'web=abc', '--udp', '8125'],
      /StatsD over UDP at \[::\]:8125 .* lines carry no token: leave them out with --udp off, or say --insecure/,
    ],
    [
      ['gateway', '--host', '::', '--http', 'off', '--udp', 'off', '--tcp', '8125'],
      /StatsD over TCP at \[::\]:8125 .* leave them out with --tcp off, or say --insecure/,
    ],
    [
      ['worker', '--host', '0.0.0.0', '--http', '0'],
      /the worker's figures .* leave it out with --http off, or say --insecure/,
    ],
  ])('are refused: zibrato %s', async (args, names) => {
    await using ground = new Playground()
    const { code, stderr } = await zibrato(ground, args)
    expect([code, stderr.split('\n').length]).toEqual([2, 2])
    expect(stderr).toMatch(names)
  })

  test('are opened with --insecure', async () => {
    await using ground = new Playground()
    const { program, listening } = await ground.zibrato(
      'up',
      '--host',
      '0.0.0.0',
      '--port',
      '0',
      '--http',
      '0',
      '--insecure',
    )
    expect(listening.broker?.publishers).toMatch(/^tcp:\/\/0\.0\.0\.0:\d+$/)
    expect(await program.stop()).toBe(0)
  })
})
