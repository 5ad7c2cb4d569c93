const SLICE_MS = 8

// Node's lets what waits for I/O go first; elsewhere there may be none
const afterOthers = typeof setImmediate === 'function' ? setImmediate : (call: () => void): unknown => setTimeout(call)

/**
 * Cuts long work into slices that let the event loop breathe. Ask after each item; await what it answers, if anything:
 *
 * ```ts
 * const breathe = pacer()
 * for (const rollup of rollups) {
 *   lines.push(format(rollup))
 *   const pause = breathe()
 *   if (pause !== undefined) await pause
 * }
 * ```
 */
export function pacer(sliceMs: number = SLICE_MS): () => Promise<void> | undefined {
  let end = performance.now() + sliceMs
  return () => {
    if (performance.now() < end) return undefined
    return new Promise((resolve) => {
      afterOthers(() => {
        end = performance.now() + sliceMs
        resolve()
      })
    })
  }
}

/** Runs work that comes in slices to its end, and lets the event loop breathe on the way. */
export async function paced<Result>(work: Iterator<void, Result>): Promise<Result> {
  const breathe = pacer()
  for (;;) {
    const step = work.next()
    if (step.done === true) return step.value
    const pause = breathe()
    if (pause !== undefined) await pause
  }
}

/** Runs work that comes in slices to its end. */
export function atOnce<Result>(work: Iterator<void, Result>): Result {
  for (;;) {
    const step = work.next()
    if (step.done === true) return step.value
  }
}
