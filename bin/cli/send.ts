import { createInterface } from 'node:readline'
import { UsageError, ZibratoError } from '../../client/errors.ts'
import { Zibrato } from '../../client/index.ts'
import type { Measurement } from '../../client/measurement.ts'
import { sleep } from '../../client/sleep.ts'
import { ORIGINS, type Invocation } from './command.ts'
import { connectKeys } from './curve.ts'
import { parseMeasurement, readMeasurement } from './measurement.ts'

export interface SendSettings {
  readonly broker: string
  readonly url: string | undefined
  readonly token: string | undefined
  readonly level: string
  readonly source: string | undefined
  readonly tags: readonly (readonly [key: string, value: string])[]
  readonly timeout: number
  readonly curveServerKey: string | undefined
}

/** Series of one stream at the most. */
const MAX_SERIES = 1_000_000
/** Complaints about lines printed; the others are counted. */
const COMPLAINTS = 10
/** How long a drain may find nobody before it is looked at again. */
const PAUSE_MS = 20
/** A gateway's answer at the end of a warning, which may be cut short behind its message. */
const ANSWER = /: \{"error":\{"code":"\w+","message":("(?:[^"\\]|\\.)*").*$/s

/** `zibrato send`. */
export async function run({ settings, origins, args }: Invocation<SendSettings>): Promise<number> {
  const { level, source, tags, timeout, token } = settings
  // read before anything is opened: a mistake is told at once
  const measurement = args.length === 1 && args[0] === '-' ? undefined : parseMeasurement(args)
  const url = targetOf(settings, origins)
  const curve = url.startsWith('tcp:') ? await connectKeys(settings.curveServerKey) : undefined
  const warnings: string[] = []
  const client = new Zibrato({
    url,
    token,
    curve,
    level,
    source,
    tags: Object.fromEntries(tags),
    flushInterval: 1_000,
    closeTimeout: timeout,
    maxSeries: MAX_SERIES,
    onWarning: ({ message }) => warnings.push(message),
  })
  const isClean = measurement === undefined ? await sendLines(client, warnings) : sendOne(client, measurement, warnings)
  await delivered(client, url, settings, warnings)
  await client.close()
  if (client.stats().unknown > 0) {
    throw new ZibratoError(
      'ERR_NOT_SENT',
      `send: ${url} stopped answering: it may have taken it or not; look there first`,
    )
  }
  return isClean ? 0 : 1
}

/**
 * Whichever was said closer to the command, `--url` or `--broker`; of two in the environment or the file the URL, as there
 * `ZIBRATO_URL` is for clients, and `ZIBRATO_BROKER` for gateway, worker and tail.
 */
function targetOf({ broker, url }: SendSettings, origins: Invocation<SendSettings>['origins']): string {
  if (url === undefined) return broker
  const [rankOfUrl, rankOfBroker] = [ORIGINS.indexOf(origins.url), ORIGINS.indexOf(origins.broker)]
  if (rankOfUrl === 0 && rankOfBroker === 0) throw new UsageError('--url and --broker are both given; leave one out')
  return rankOfUrl <= rankOfBroker ? url : broker
}

function sendOne(client: Zibrato, measurement: Measurement, warnings: string[]): boolean {
  if (client.record(measurement)) return true
  throw new UsageError(`send: ${warnings.pop() ?? 'this is no measurement'}`)
}

/** Records each line of standard input; those that are no measurements take no neighbour along. */
async function sendLines(client: Zibrato, warnings: string[]): Promise<boolean> {
  let number = 0
  let wrong = 0
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
    number++
    if (line.trim() === '') continue
    let reason: string | undefined
    try {
      const measurement = readMeasurement(line)
      if (!client.record(measurement)) reason = warnings.pop() ?? 'it was refused as one of this name before'
    } catch (error) {
      reason = (error as Error).message
    }
    if (reason === undefined) continue
    if (wrong++ < COMPLAINTS) process.stderr.write(`zibrato: send: line ${number}: ${reason}\n`)
  }
  if (wrong > COMPLAINTS) process.stderr.write(`zibrato: send: ${wrong - COMPLAINTS} more lines are no measurements\n`)
  return wrong === 0
}

/** @throws ZibratoError when not all of it has gone out in time, saying why and what to do */
async function delivered(
  client: Zibrato,
  url: string,
  { timeout, level }: SendSettings,
  warnings: readonly string[],
): Promise<void> {
  const deadline = performance.now() + timeout
  await client.flush()
  while (client.stats().waiting > 0 && performance.now() < deadline) {
    await sleep(PAUSE_MS)
    await client.flush()
  }
  const { waiting, unknown, dropped } = client.stats()
  const lost = ['unsubscribed', 'overflow', 'refused', 'rejected'].reduce(
    (sum, reason) => sum + (dropped[reason] ?? 0),
    0,
  )
  if (waiting === 0 && unknown === 0 && lost === 0) return
  const problem = url.startsWith('tcp:') ? brokerProblem(client, url, level) : gatewayProblem(url, timeout, warnings)
  throw new ZibratoError('ERR_NOT_SENT', `send: ${problem}`)
}

function brokerProblem(client: Zibrato, url: string, level: string): string {
  if (!client.connected()) return `no broker answers at ${url}; start one with "zibrato up", or name it with --broker`
  return `nobody subscribes to level ${level} at ${url}; start "zibrato worker", or look at its --levels`
}

/** What the client said last; but here nobody goes on trying, and of a gateway's answer its message says it all. */
function gatewayProblem(url: string, timeout: number, warnings: readonly string[]): string {
  const last = warnings.at(-1)
  if (last === undefined) return `no gateway answers at ${url}; start one with "zibrato up", or correct --url`
  return last
    .replace(/, will retry(: .*)$/s, `$1; gave up after ${timeout / 1_000} s, see --url and --timeout`)
    .replace(ANSWER, (_, message: string) => `: ${JSON.parse(message) as string}`)
    .replace(/answered 401.*$/s, '$&; see --token')
}
