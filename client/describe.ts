/** A value that somebody passed, in words that fit into a message. Never throws. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40))
  // an object's own way to become a text may throw
  return typeof value === 'function' || (typeof value === 'object' && value !== null)
    ? `this ${typeof value}`
    : String(value)
}
