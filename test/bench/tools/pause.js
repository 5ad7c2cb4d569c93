import { monitorEventLoopDelay } from 'node:perf_hooks'

/**
 * Runs something and tells how long it took, and the longest time, in ms, in which nothing else got a turn.
 *
 * @param {() => Promise<void>} work
 */
export async function pauseOf(work) {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  await idle()
  delay.reset()
  // the first tick after a reset is not counted
  await idle()
  const start = performance.now()
  await work()
  const ms = performance.now() - start
  // the timer that was kept waiting has to fire before its lateness is known
  await idle()
  delay.disable()
  return { ms, pause: delay.max / 1e6 }
}

/** @returns {Promise<void>} */
function idle() {
  return new Promise((resolve) => setTimeout(resolve, 10))
}
