/** The next turn of the event loop, in which sockets are read. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Resolves once `count` has stood still for three turns of the event loop, or after `timeoutMs`. */
export async function settled(count: () => number, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs
  let last = count()
  for (let idle = 0; idle < 3 && performance.now() < deadline; idle++) {
    await turn()
    if (count() === last) continue
    last = count()
    idle = -1
  }
}
