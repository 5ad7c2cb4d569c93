/** A worker whose handlers are what a module exports. */
export function fetch(): string {
  return 'ok'
}
