import { UsageError } from '../../client/errors.ts'
import type { Measurement, TimeUnit } from '../../client/measurement.ts'
import { ingestJson } from '../../gateway/ingest/json.ts'
import type { IncomingMeasurement, Sink } from '../../gateway/ingest/sink.ts'

const TYPES = ['counter', 'timer', 'gauge', 'set', 'unique', 'histogram', 'meter'] as const

const HOW = 'write for example: zibrato send counter orders 5'

/**
 * A measurement of the words `TYPE NAME VALUE`; a timer's value may have a unit.
 *
 * @throws UsageError naming the word that makes no sense
 */
export function parseMeasurement(words: readonly string[]): Measurement {
  const [type, name, value = '1', ...more] = words
  if (type === undefined || name === undefined) throw new UsageError(`send: a type and a name are needed; ${HOW}`)
  if (more.length > 0) throw new UsageError(`send: ${JSON.stringify(more[0])} is one word too many; ${HOW}`)
  const known = TYPES.find((each) => each === type)
  if (known === undefined)
    throw new UsageError(`send: ${JSON.stringify(type)} is no type; use one of ${TYPES.join(', ')}`)
  const isCount = known === 'counter' || known === 'meter'
  if (words.length < 3 && !isCount)
    throw new UsageError(`send: a ${known} needs a value; ${HOW.replace('counter orders 5', `${known} ${name} 5`)}`)
  if (known === 'set' || known === 'unique') return { type: known, name, value }
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(ns|us|µs|ms|s)?$/i.exec(value)
  const unit = match?.[2]?.toLowerCase().replace('µ', 'u') as TimeUnit | undefined
  if (match === null || (unit !== undefined && known !== 'timer')) {
    const units = known === 'timer' ? ' with a unit, such as 12ms or 0.5s' : ''
    throw new UsageError(`send: ${JSON.stringify(value)} is no number${units}; ${HOW}`)
  }
  return { type: known, name, value: Number(match[1]), unit }
}

/**
 * A measurement as HTTP takes it, of a line of JSON.
 *
 * @throws UsageError saying why it is none
 */
export function readMeasurement(line: string): Measurement {
  let json: unknown
  try {
    json = JSON.parse(line)
  } catch (cause) {
    throw new UsageError(`is no JSON: ${(cause as Error).message}`, { cause })
  }
  let measurement: Measurement | undefined
  const sink: Pick<Sink, 'record'> = {
    record(taken: IncomingMeasurement) {
      measurement = taken
      return undefined
    },
  }
  // what it says of level and source holds for this one only, as in HTTP; the rest has its defaults from the client
  const rules = { defaultLevel: 'info', levels: undefined, maxMeasurements: 1, now: Date.now }
  const { rejected } = ingestJson([json], sink, rules)
  if (measurement === undefined) throw new UsageError(rejected[0]?.reason ?? 'is no measurement')
  return measurement
}
