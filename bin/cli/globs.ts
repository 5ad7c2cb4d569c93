/** Whether a name fits one of some patterns, in which `*` is any text and `?` any character; every name when there are none. */
export function globMatcher(patterns: readonly string[]): (name: string) => boolean {
  if (patterns.length === 0) return () => true
  const expressions = patterns.map((pattern) => {
    const source = pattern
      .replace(/[\\^$.|+()[\]{}]/g, '\\$&')
      .replace(/\*+/g, '.*')
      .replaceAll('?', '.')
    return new RegExp(`^${source}$`, 'su')
  })
  return (name) => expressions.some((expression) => expression.test(name))
}
