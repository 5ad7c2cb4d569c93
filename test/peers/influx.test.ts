import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Rollup, Window } from '../../backends/backend.ts'
import { openBackend } from '../../backends/open.ts'
import { recordOf } from '../../backends/record.ts'
import {
  extremeRollups,
  manyRollups,
  oddlyNamedRollups,
  rollupsOfEveryType,
  sampleRollup,
  sampleWindow,
} from '../../backends/samples.ts'
import { until } from '../until.ts'
import { freePort } from '../free-port.ts'
import { PeerServer } from './server.ts'

const never = new AbortController().signal

/** A point as a database tells it; `time` in seconds. */
interface Told {
  readonly measurement: string
  readonly tags: Record<string, string>
  readonly fields: Record<string, number>
  readonly time: number
}

/** What separates, quotes, comments and escapes, in every place where it could. */
const TROUBLE = [
  '#hash',
  '\ttab',
  ' space ',
  'ends in \\',
  '\\',
  '\\\\',
  '\\,',
  '\\=',
  '\\ x',
  'a\\ key="v',
  'say "hi", ok=1',
  'x=1 2\\',
  "it's",
  'C:\\dir\\',
  'time',
]

function troublesomeRollups(): Rollup[] {
  return TROUBLE.map((text, index) => {
    const tags = Object.fromEntries([
      [text, text],
      ['after', 'x'],
      ['empty', ''],
    ])
    return sampleRollup({ type: 'counter', name: text, source: text, tags }, [index])
  })
}

/** What the documentation says that a text becomes. */
function written(text: string, first = false): string {
  const plain = text.replace(/\\(?=[, =\\]|$)/g, '%5C')
  return first ? plain.replace(/^#/, '%23').replace(/^\t/, '%09') : plain
}

function expected(window: Window): Told[] {
  return window.rollups.map((rollup) => {
    const record = recordOf(window, rollup)
    const { time, interval: _i, type, name, source, tags, readings: _r, ...fields } = record
    const all = Object.entries({ ...tags, metric_type: type, ...(source === 'not_specified' ? {} : { source }) })
      .filter(([, value]) => value !== '')
      .map(([tag, value]) => [tag === 'time' ? 'tag_time' : written(tag), written(value)])
    return {
      measurement: written(name, true),
      tags: Object.fromEntries(all) as Record<string, string>,
      fields: fields as Record<string, number>,
      time,
    }
  })
}

const sorted = (record: Record<string, unknown>): unknown[] =>
  Object.entries(record).sort(([left], [right]) => (left < right ? -1 : 1))

const byText = (points: readonly Told[]): unknown[] =>
  points
    .map((point) => [point.measurement, sorted(point.tags), sorted(point.fields), point.time])
    .map((point) => JSON.stringify(point))
    .sort()

describe('InfluxDB', () => {
  let server: PeerServer
  let port = 0

  beforeAll(async () => {
    server = await PeerServer.make()
    const config = join(server.directory, 'influxdb.conf')
    const at = (name: string): string => JSON.stringify(join(server.directory, name))
    await writeFile(
      config,
      `reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
  dir = ${at('meta')}
[data]
  dir = ${at('data')}
  wal-dir = ${at('wal')}
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:0"
  log-enabled = false
`,
    )
    const address = /Listening on HTTP.* addr=127\.0\.0\.1:(\d+)/
    await server.start('influxd', ['-config', config], () => address.test(server.output))
    port = Number(address.exec(server.output)?.[1])
  })
  afterAll(() => server.stop())

  async function ask(q: string, db = ''): Promise<unknown> {
    const query = new URLSearchParams({ q, db, epoch: 'ms' })
    const response = await fetch(`http://127.0.0.1:${port}/query?${query}`, { method: 'POST' })
    return response.json()
  }

  async function told(db: string): Promise<Told[]> {
    interface Series {
      name: string
      tags?: Record<string, string>
      columns: string[]
      values: (number | null)[][]
    }
    const { results } = (await ask('SELECT * FROM /.*/ GROUP BY *', db)) as { results: { series?: Series[] }[] }
    return (results[0]?.series ?? []).flatMap(({ name, tags = {}, columns, values }) =>
      values.map((row) => {
        const present = columns
          .map((column, index) => [column, row[index]] as const)
          .filter(([, value]) => value !== null)
        const { time = 0, ...fields } = Object.fromEntries(present) as Record<string, number>
        // grouping by all tags, it lists those that a series has not as empty
        const own = Object.entries(tags).filter(([, value]) => value !== '')
        return { measurement: name, tags: Object.fromEntries(own), fields, time: time / 1000 }
      }),
    )
  }

  async function database(name: string): Promise<string> {
    await ask(`CREATE DATABASE ${name}`)
    return `influx+http://127.0.0.1:${port}?db=${name}`
  }

  test.each([
    ['every type', rollupsOfEveryType],
    ['odd names', oddlyNamedRollups],
    ['names that are trouble to it', troublesomeRollups],
    ['numbers at the ends of what there is', extremeRollups],
  ])('tells what it was sent: %s', async (title, rollups) => {
    const db = `sent_${title.replace(/\W/g, '_')}`
    const backend = await openBackend(await database(db))
    const window = sampleWindow(rollups())
    await backend.flush(window, never)
    expect(byText(await told(db))).toEqual(byText(expected(window)))
  })

  test.each([
    ['s', 500],
    ['ms', 6000],
    ['us', 500],
    ['ns', 500],
  ])('keeps one point of a series and time, in %s', async (precision, series) => {
    const db = `twice_${precision}`
    const backend = await openBackend(`${await database(db)}&precision=${precision}&gzip=no`)
    for (const index of [0, 1, 1]) await backend.flush(sampleWindow(manyRollups(series), index), never)
    const points = await told(db)
    expect(points).toHaveLength(2 * series)
    expect(new Set(points.map(({ time }) => time))).toEqual(new Set([1_700_000_010, 1_700_000_020]))
  })

  test('keeps the others where it drops a point of another type', async () => {
    const url = await database('conflict')
    // types are the same only within a day or so
    const body = 'many.4 value=1i 1700000000000000000'
    const response = await fetch(`http://127.0.0.1:${port}/write?db=conflict`, { method: 'POST', body })
    expect(response.status).toBe(204)
    const backend = await openBackend(url)
    await expect(backend.flush(sampleWindow(manyRollups(100)), never)).rejects.toMatchObject({
      name: 'PermanentError',
      refused: 1,
      message: expect.stringContaining('field type conflict') as string,
    })
    expect((await told('conflict')).filter(({ time }) => time === 1_700_000_010)).toHaveLength(99)
  })

  test('names a database that is not there, and takes the window once it is', async () => {
    const backend = await openBackend(`influx+http://127.0.0.1:${port}?db=later`)
    const window = sampleWindow(rollupsOfEveryType())
    await expect(backend.flush(window, never)).rejects.toMatchObject({
      name: 'Error',
      message: expect.stringContaining('database not found') as string,
    })
    await database('later')
    await backend.flush(window, never)
    expect(byText(await told('later'))).toEqual(byText(expected(window)))
  })
})

describe('VictoriaMetrics', () => {
  let server: PeerServer
  let port = 0

  beforeAll(async () => {
    server = await PeerServer.make()
    port = await freePort()
    const options = [`-httpListenAddr=127.0.0.1:${port}`, '-retentionPeriod=100y', '-storageDataPath=data']
    const healthy = (): Promise<boolean> =>
      fetch(`http://127.0.0.1:${port}/health`).then(
        ({ ok }) => ok,
        () => false,
      )
    await server.start('victoria-metrics', options, healthy)
  })
  afterAll(() => server.stop())

  /** Of a number it keeps twelve digits or so. */
  function shown(name: string, tags: Record<string, string>, values: number[], times: number[]): string {
    const { db: _db, ...own } = tags
    return JSON.stringify([name, sorted(own), values.map((value) => value.toPrecision(12)), times])
  }

  /** Metrics are called by measurement and field there. */
  async function told(db: string): Promise<string[]> {
    await fetch(`http://127.0.0.1:${port}/internal/force_flush`)
    const query = new URLSearchParams({ 'match[]': `{db=${JSON.stringify(db)}}`, start: '0' })
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/export?${query}`)
    const lines = (await response.text()).split('\n').filter((line) => line !== '')
    return lines.map((line) => {
      const { metric, values, timestamps } = JSON.parse(line) as {
        metric: Record<string, string>
        values: number[]
        timestamps: number[]
      }
      const { __name__: name = '', ...tags } = metric
      return shown(name, tags, values, timestamps)
    })
  }

  test.each([
    [1, '?db=sent_1'],
    [2, '?org=o&bucket=b&token=t'],
  ])('tells what it was sent as to version %i', async (version, options) => {
    const db = `sent_${version}`
    // it notes the name of a database as a tag; where there is none, the points have that tag themselves
    const rollups = [...rollupsOfEveryType(), ...oddlyNamedRollups(), ...troublesomeRollups()].map((rollup) =>
      version === 1 ? rollup : { ...rollup, tags: { ...rollup.tags, db } },
    )
    const window = sampleWindow(rollups)
    const backend = await openBackend(`influx+http://127.0.0.1:${port}${options}`)
    await backend.flush(window, never)
    const wanted = expected(window)
      .flatMap(({ measurement, tags, fields, time }) =>
        Object.entries(fields).map(([field, value]) => shown(`${measurement}_${field}`, tags, [value], [time * 1000])),
      )
      .sort()
    await until(async () => (await told(db)).length >= wanted.length, 'all points are there')
    expect((await told(db)).sort()).toEqual(wanted)
  })
})
