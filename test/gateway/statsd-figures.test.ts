import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { StatsdFigures } from '../../gateway/ingest/statsd-figures.ts'
import { FakeSink } from './fake-sink.ts'

describe("statsd's figures of itself", () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  /** Values by name, of what was recorded since the last time. */
  const told = (sink: FakeSink): Record<string, unknown> =>
    Object.fromEntries(sink.measurements.splice(0).map(({ name, value }) => [name, value]))

  it('are told from the start on, as what came since the last time, by the names that statsd has', () => {
    const sink = new FakeSink()
    const now = { packets: 0, lines: 0, bad: 0 }
    const figures = new StatsdFigures({ sink, stats: () => ({ ...now }), prefix: 'me', level: 'crit', everyMs: 1_000 })
    expect(sink.measurements.map(({ type, level }) => `${type} ${level}`)).toEqual([
      'counter crit',
      'counter crit',
      'counter crit',
      'gauge crit',
    ])
    const names = { 'me.bad_lines_seen': 0, 'me.packets_received': 0, 'me.metrics_received': 0, 'me.timestamp_lag': 0 }
    expect(told(sink)).toEqual(names)
    Object.assign(now, { packets: 3, lines: 7, bad: 1 })
    vi.advanceTimersByTime(1_000)
    expect(told(sink)).toEqual({ ...names, 'me.bad_lines_seen': 1, 'me.packets_received': 3, 'me.metrics_received': 7 })
    vi.advanceTimersByTime(1_000)
    expect(told(sink)).toEqual(names)
    Object.assign(now, { packets: 4, lines: 9 })
    figures.close()
    figures.close()
    expect(told(sink)).toEqual({ ...names, 'me.packets_received': 1, 'me.metrics_received': 2 })
    vi.advanceTimersByTime(10_000)
    expect(sink.measurements).toEqual([])
  })

  it('wait for a sink that is full, and are whole after', () => {
    const sink = new FakeSink()
    const now = { packets: 0, lines: 0, bad: 0 }
    const figures = new StatsdFigures({ sink, stats: () => ({ ...now }), prefix: 'statsd', everyMs: 1_000 })
    told(sink)
    sink.full = true
    now.packets = 5
    vi.advanceTimersByTime(3_000)
    expect(sink.measurements).toEqual([])
    sink.full = false
    now.packets = 6
    vi.advanceTimersByTime(1_000)
    expect(told(sink)).toMatchObject({ 'statsd.packets_received': 6 })
    figures.close()
  })
})
