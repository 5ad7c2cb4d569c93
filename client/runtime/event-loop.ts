import { performance } from 'node:perf_hooks'
import type { Target } from './instruments.ts'
import { every } from './ticking.ts'

/**
 * How late timers are, and which part of the time the event loop is at work. The delays are samples of a timer, not the
 * figures of Node's `monitorEventLoopDelay`: only samples of several processes can become one percentile.
 */
export function observeEventLoop({ instruments, prefix }: Target, resolutionMs: number): () => void {
  const delay = instruments.timer(`${prefix}node.eventloop.delay`)
  let dueMs = performance.now() + resolutionMs
  const stopTicking = every(resolutionMs, () => {
    const nowMs = performance.now()
    // one that comes early, for timers know whole milliseconds, is on time
    delay.recordMs(Math.max(0, nowMs - dueMs))
    dueMs = nowMs + resolutionMs
  })
  let previous = performance.eventLoopUtilization()
  let utilization = previous.utilization
  const stopReading = instruments.gauge(`${prefix}node.eventloop.utilization`, { combine: 'max' }).observe(() => {
    const current = performance.eventLoopUtilization()
    const passed = performance.eventLoopUtilization(current, previous)
    // read twice in a moment, there is nothing to divide by
    if (passed.idle + passed.active > 0) {
      utilization = passed.utilization
      previous = current
    }
    return utilization
  })
  return () => {
    stopTicking()
    stopReading()
  }
}
