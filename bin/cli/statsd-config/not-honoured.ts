import type { SettingsReader } from './reader.ts'

const NO_MANAGEMENT = 'there is no management port; /healthz, /readyz and /metrics at --http tell how it does'
const NOT_PASSED_ON = 'packets are not passed on; a --to statsd://HOST:PORT more passes on what was added up'
const NO_KEYS = 'keys are not counted one by one; "zibrato tail" shows what comes'

/** Settings of statsd 0.9 of which nothing becomes here: why, and the values with which nothing is missed. */
const NOT_HONOURED: readonly (readonly [name: string, reason: string, harmless?: readonly unknown[]])[] = [
  ['mgmt_port', NO_MANAGEMENT],
  ['mgmt_address', NO_MANAGEMENT],
  ['healthStatus', NO_MANAGEMENT, ['up']],
  ['title', 'the process is called "zibrato up"', [false]],
  ['dumpMessages', '"zibrato tail" shows what comes', [false, 0]],
  ['keyFlush', NO_KEYS],
  ['console', 'the console backend prints tables, which people can read'],
  ['log', 'logs are lines of JSON on standard error; --log-level says how many'],
  ['repeater', NOT_PASSED_ON],
  ['repeaterProtocol', NOT_PASSED_ON],
  ['automaticConfigReload', 'a changed file is read at the next start', [false, 0]],
]

/** Notes what is not honoured, and what no statsd knows. */
export function notHonoured(reader: SettingsReader): void {
  for (const [name, reason, harmless = []] of NOT_HONOURED) {
    const constant = reader.take(name)
    if (constant !== undefined && !harmless.includes(constant.value)) reader.note(name, reason)
  }
  reader.noteUnknown('not a setting of statsd 0.9')
}
