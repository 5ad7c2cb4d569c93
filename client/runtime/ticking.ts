/** Calls back every so often, without keeping the program alive; answers what stops it. */
export function every(intervalMs: number, call: () => void): () => void {
  const timer = setInterval(call, intervalMs).unref()
  return () => clearInterval(timer)
}
