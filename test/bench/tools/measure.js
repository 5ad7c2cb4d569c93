/** How much of the measured time goes to warming up before. */
const WARM_UP = 0.4

/**
 * Nanoseconds per call: the median over many timed batches, once the compiler has settled.
 *
 * @param {(calls: number) => void} batch makes that many calls
 * @param {number} seconds
 */
export function nsPerCall(batch, seconds) {
  let calls = 1_000
  while (timed(batch, calls) < 2 && calls < 1e8) calls *= 2
  const warm = performance.now() + seconds * WARM_UP * 1000
  while (performance.now() < warm) batch(calls)
  const samples = []
  const end = performance.now() + seconds * 1000
  while (performance.now() < end) samples.push((timed(batch, calls) * 1e6) / calls)
  return middle(samples)
}

/**
 * The same with a turn of the event loop after every batch, inside the time that counts: for contenders that leave work
 * to it, such as writing to a socket.
 *
 * @param {(calls: number) => void} batch
 * @param {number} seconds
 * @param {number} [calls]
 */
export async function nsPerCallAndTurn(batch, seconds, calls = 1_000) {
  const warm = performance.now() + seconds * WARM_UP * 1000
  while (performance.now() < warm) {
    batch(calls)
    await turn()
  }
  const samples = []
  const end = performance.now() + seconds * 1000
  while (performance.now() < end) {
    const start = performance.now()
    batch(calls)
    await turn()
    samples.push(((performance.now() - start) * 1e6) / calls)
  }
  // the mean: work that was put off must not hide behind a median
  return samples.reduce((sum, value) => sum + value, 0) / samples.length
}

/** @returns {Promise<void>} */
export function turn() {
  return new Promise((resolve) => setImmediate(resolve))
}

/** @param {(calls: number) => void} batch @param {number} calls */
function timed(batch, calls) {
  const start = performance.now()
  batch(calls)
  return performance.now() - start
}

/** @param {number[]} samples */
function middle(samples) {
  return samples.sort((left, right) => left - right)[samples.length >> 1]
}
