const SLICE_MS = 8

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
      setImmediate(() => {
        end = performance.now() + sliceMs
        resolve()
      })
    })
  }
}
