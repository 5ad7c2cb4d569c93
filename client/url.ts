/** A URL as it may be shown: without user, password and query, which may hold secrets. */
export function publicUrl(url: string): string {
  return `${url}`.replace(/\/\/.*@/, '//***@').replace(/\?.*/s, '')
}
