import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Rollup } from '../../backends/backend.ts'
import { openBackend } from '../../backends/open.ts'
import {
  extremeRollups,
  oddlyNamedRollups,
  rollupsOfEveryType,
  sampleRollup,
  sampleWindow,
} from '../../backends/samples.ts'
import { Carbon } from '../backends/carbon.ts'
import { freePort } from '../free-port.ts'
import { until } from '../until.ts'

const never = new AbortController().signal
// the last sample window that is over
const NOW = Math.floor((Date.now() / 1000 - 1_700_000_000) / 10) - 1

// Debian's, which has its packages
const PYTHON = '/usr/bin/python3'

// what whisper holds at a time of each path, in carbon's own terms
const FETCH = `
import json, os, sys, whisper
from carbon.util import TaggedSeries
data, time = sys.argv[1], int(sys.argv[2])
def value(path):
    encoded = TaggedSeries.encode(TaggedSeries.parse(path).path, os.sep, hash_only=True)
    try:
        return whisper.fetch(os.path.join(data, encoded + '.wsp'), time - 10, time)[1][0]
    except (IOError, whisper.WhisperException):
        return None
print(json.dumps({path: value(path) for path in json.load(sys.stdin)}))
`

let directory = ''
let port = 0
let carbon: ChildProcess

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'zibrato-'))
  port = await freePort()
  const config = join(directory, 'carbon.conf')
  await writeFile(
    config,
    `[cache]
STORAGE_DIR = ${directory}
LOCAL_DATA_DIR = ${directory}/whisper/
CONF_DIR = ${directory}
LOG_DIR = ${directory}
PID_DIR = ${directory}
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = ${port}
PICKLE_RECEIVER_PORT = 0
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = 0
MAX_CREATES_PER_MINUTE = inf
MAX_UPDATES_PER_SECOND = inf
ENABLE_TAGS = False
CARBON_METRIC_INTERVAL = 0
`,
  )
  await writeFile(join(directory, 'storage-schemas.conf'), '[all]\npattern = .*\nretentions = 10s:1h\n')
  const options = [`--config=${config}`, `--pidfile=${directory}/carbon.pid`, '--nodaemon', '--logfile=-', 'start']
  const env = { ...process.env, PYTHONWARNINGS: 'ignore' }
  carbon = spawn('carbon-cache', options, { stdio: ['ignore', 'ignore', 'inherit'], env })
  await until(answers, 'carbon-cache listens', 60_000)
})
afterAll(async () => {
  if (carbon.exitCode === null) {
    carbon.kill('SIGKILL')
    await once(carbon, 'close')
  }
  await rm(directory, { recursive: true, force: true })
})

async function answers(): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

async function stored(paths: readonly string[], time: number): Promise<Record<string, number | null>> {
  const fetch = promisify(execFile)(PYTHON, ['-c', FETCH, `${directory}/whisper`, String(time)], {
    maxBuffer: 1 << 24,
  })
  fetch.child.stdin?.end(JSON.stringify(paths))
  return JSON.parse((await fetch).stdout) as Record<string, number | null>
}

/** What whisper holds once that is as expected, or when it never is. */
async function storedOnce(path: string, time: number, isIt: (value: number | null) => boolean): Promise<number | null> {
  let last: number | null = null
  await until(async () => {
    last = (await stored([path], time))[path] ?? null
    return isIt(last)
  }).catch(() => {})
  return last
}

/** What is sent of some rollups: the same as to carbon, read by a stand-in. */
async function sent(options: string, rollups: readonly Rollup[], index: number): Promise<Record<string, number>> {
  const double = new Carbon()
  await double.listen()
  await (await openBackend(double.url + options)).flush(sampleWindow(rollups, index), never)
  await double.stop()
  expect(double.bad).toEqual([])
  return Object.fromEntries(double.measured.map(({ path, value }) => [path, value]))
}

test.each([
  ['with tags', '?percentThreshold=90,-10&histogram=:10,inf'],
  ['with tags in the path', '?tags=path&legacyNamespace=no&globalPrefix=path'],
  ['with tags as they are', '?keyNameSanitize=no&legacyNamespace=no&globalPrefix=asis'],
])('a real carbon stores every point of every type, however it is named, %s', async (_, options) => {
  const rollups = [...rollupsOfEveryType(), ...oddlyNamedRollups(), ...extremeRollups()]
  const expected = await sent(options, rollups, NOW)
  expect(Object.keys(expected).length).toBeGreaterThan(200)
  const backend = await openBackend(`graphite://127.0.0.1:${port}${options}`)
  const window = sampleWindow(rollups, NOW)
  await backend.flush(window, never)
  let last: Record<string, number | null> = {}
  const isThere = async (): Promise<boolean> => {
    last = await stored(Object.keys(expected), window.end)
    return Object.values(last).every((value) => value !== null)
  }
  // what never comes is told by the comparison
  await until(isThere, 'whisper holds all points', 30_000).catch(() => {})
  expect(last).toEqual(expected)
})

test('a window that is sent again overwrites what was there', async () => {
  const backend = await openBackend(`graphite://127.0.0.1:${port}`)
  const series = { type: 'gauge', name: 'overwritten', source: 'not_specified', tags: {} } as const
  for (const value of [1, 2]) {
    const window = sampleWindow([sampleRollup(series, [value])], NOW)
    await backend.flush(window, never)
    expect(await storedOnce('stats.gauges.overwritten', window.end, (there) => there === value)).toBe(value)
  }
})

test('a flush waits for a carbon that is stopped, and is given up when its time is over', async () => {
  const backend = await openBackend(`graphite://127.0.0.1:${port}`)
  const window = sampleWindow(
    [sampleRollup({ type: 'gauge', name: 'late', source: 'not_specified', tags: {} }, [7])],
    NOW,
  )
  carbon.kill('SIGSTOP')
  // its kernel still takes connections, and what fits into their buffers
  await expect(backend.flush(window, AbortSignal.timeout(200))).rejects.toThrow(/^graphite: /)
  carbon.kill('SIGCONT')
  await backend.flush(window, never)
  await until(
    async () => (await stored(['stats.gauges.late'], window.end))['stats.gauges.late'] === 7,
    'whisper holds it',
  )
})
