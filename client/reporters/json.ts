import { pacer } from '../pace.ts'
import type { Registry } from '../registry/registry.ts'

/** What `getStats()` answers, as JSON, made in slices that let the event loop breathe. */
export async function jsonText(registry: Registry): Promise<string> {
  const breathe = pacer()
  let text = ''
  for (const piece of pieces(await registry.getStatsAsync())) {
    text += piece
    const pause = breathe()
    if (pause !== undefined) await pause
  }
  return text
}

function* pieces(node: object): Generator<string> {
  if (Array.isArray(node)) {
    let before = '['
    for (const series of node) {
      yield before + JSON.stringify(series)
      before = ','
    }
    yield ']'
    return
  }
  const entries = Object.entries(node)
  if (entries.every(([, value]) => typeof value === 'number')) {
    yield JSON.stringify(node)
    return
  }
  let before = '{'
  for (const [key, value] of entries) {
    const head = `${before}${JSON.stringify(key)}:`
    before = ','
    if (typeof value === 'number') yield head + JSON.stringify(value)
    else {
      yield head
      yield* pieces(value as object)
    }
  }
  yield '}'
}
