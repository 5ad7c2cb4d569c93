/** A URL as it may be shown: without user, password and query, which may hold secrets. */
export function publicUrl(url: string): string {
  // of an "@" behind a "?" it cannot be told whether it ends a password: then nothing is shown
  return `${url}`.replace(/\/\/[^?]*@|\/\/.*@.*|\?.*/gs, ([first]) => (first === '/' ? '//***@' : ''))
}
