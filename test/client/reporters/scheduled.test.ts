import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { UsageError } from '../../../client/errors.ts'
import { Registry } from '../../../client/registry/index.ts'
import { ScheduledReporter, type ScheduledOptions } from '../../../client/reporters/index.ts'

class Probe extends ScheduledReporter {
  readonly times: number[] = []
  next: (signal: AbortSignal) => Promise<void> | void = () => {}

  constructor(options: ScheduledOptions = {}) {
    super({ registry: new Registry(), interval: '1s', ...options })
  }

  report(signal: AbortSignal): Promise<void> | void {
    this.times.push(performance.now())
    return this.next(signal)
  }
}

describe('a scheduled reporter', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  test('reports at multiples of its interval, however long reports take', async () => {
    const probe = new Probe()
    const start = performance.now()
    await probe.start()
    probe.next = () => new Promise((resolve) => setTimeout(resolve, 700))
    await vi.advanceTimersByTimeAsync(5_700)
    expect(probe.times.map((time) => time - start)).toEqual([1000, 2000, 3000, 4000, 5000])
    expect(probe.reports).toBe(5)
  })

  test('starts none while one is under way, and counts the turns it left out', async () => {
    const probe = new Probe()
    await probe.start()
    const start = performance.now()
    probe.next = () => new Promise((resolve) => setTimeout(resolve, 2_500))
    await vi.advanceTimersByTimeAsync(6_600)
    expect(probe.times.map((time) => time - start)).toEqual([1000, 4000])
    expect([probe.skipped, probe.reports]).toEqual([4, 2])
  })

  test('contains and counts what reports throw, and says so once until one succeeds again', async () => {
    const warnings: unknown[] = []
    const heard: unknown[] = []
    const listen = (message: unknown): void => void heard.push(message)
    subscribe('zibrato:warning', listen)
    const probe = new Probe({
      onWarning: (warning) => {
        warnings.push(warning)
        throw new Error('not my concern')
      },
    })
    await probe.start()
    probe.next = () => Promise.reject(new Error('no route'))
    await vi.advanceTimersByTimeAsync(2_000)
    probe.next = () => {
      throw new Error('synchronous')
    }
    await vi.advanceTimersByTimeAsync(1_000)
    probe.next = () => {}
    await vi.advanceTimersByTimeAsync(1_000)
    probe.next = () => Promise.reject(new Error('again'))
    await vi.advanceTimersByTimeAsync(1_000)
    await probe.stop()
    unsubscribe('zibrato:warning', listen)
    expect([probe.errors, probe.reports]).toEqual([5, 1])
    expect(warnings).toEqual([
      { code: 'ZIBRATO_REPORT', message: 'Probe: a report failed: no route' },
      { code: 'ZIBRATO_REPORT', message: 'Probe: a report failed: again' },
    ])
    expect(heard).toEqual(warnings)
  })

  test('waits for the report under way when it is stopped, and then reports a last time', async () => {
    const probe = new Probe()
    await probe.start()
    let finish = (): void => {}
    probe.next = () => new Promise((resolve) => (finish = resolve))
    await vi.advanceTimersByTimeAsync(1_000)
    const stopped = probe.stop()
    await vi.advanceTimersByTimeAsync(5_000)
    expect(probe.times.length).toBe(1)
    finish()
    await vi.advanceTimersByTimeAsync(0)
    expect(probe.times.length).toBe(2)
    finish()
    await stopped
    await vi.advanceTimersByTimeAsync(5_000)
    expect([probe.times.length, probe.reports]).toEqual([2, 2])
  })

  test('gives up on a report that hangs when it is stopped', async () => {
    const probe = new Probe({ timeout: '2s' })
    await probe.start()
    probe.next = () => new Promise(() => {})
    await vi.advanceTimersByTimeAsync(1_000)
    const stopped = probe.stop()
    await vi.advanceTimersByTimeAsync(2_100)
    await stopped
    expect([probe.times.length, probe.errors]).toEqual([1, 1])
  })

  test('names the option that makes no sense', () => {
    expect(() => new Probe({ interval: 0 })).toThrow(UsageError)
    expect(() => new Probe({ interval: 0 })).toThrow('reporter: an interval of 0 makes no sense')
    expect(() => new Probe({ interval: 'soon' })).toThrow('duration "soon" is none')
  })
})
