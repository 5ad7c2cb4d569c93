/** Handles in rotation: enough that no loop can keep one of them in registers. */
export const HANDLES = 64

/** Length of the sequences below, a power of two; `index & MASK` wraps. */
export const LENGTH = 65_536
export const MASK = LENGTH - 1

/** A seeded xorshift32, so that every contender sees the same. @param {number} [seed] */
export function random(seed = 0x9e3779b9) {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

/** Which handle is used next, {@link LENGTH} times. */
export function order(bound = HANDLES) {
  const next = random()
  return Uint8Array.from({ length: LENGTH }, () => Math.floor(next() * bound))
}

/** Response times in seconds, lognormal around 20 ms. */
export function durations() {
  const next = random(0x85ebca6b)
  return Float64Array.from({ length: LENGTH }, () => {
    const normal = Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
    return Math.exp(Math.log(0.02) + 0.8 * normal)
  })
}

export const ROUTES = ['/', '/cart', '/pay', '/login', '/items', '/search', '/about', '/help']
export const STATUSES = [200, 201, 404, 500]
export const METHODS = ['GET', 'POST']
