import { PerformanceObserver, constants } from 'node:perf_hooks'
import type { Target } from './instruments.ts'

const KINDS: ReadonlyMap<number, string> = new Map([
  [constants.NODE_PERFORMANCE_GC_MINOR, 'minor'],
  [constants.NODE_PERFORMANCE_GC_MAJOR, 'major'],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, 'incremental'],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, 'weakcb'],
])

/** How often garbage is collected, and for how long, by kind. */
export function observeGc({ instruments, prefix }: Target): () => void {
  const timer = instruments.timer(`${prefix}node.gc`)
  const observer = new PerformanceObserver((list) => {
    // the types are those of browsers, which know nothing of it
    for (const { detail, duration } of list.getEntries() as unknown as {
      detail: { kind: number }
      duration: number
    }[]) {
      timer.with({ kind: KINDS.get(detail.kind) ?? 'other' }).recordMs(duration)
    }
  })
  observer.observe({ entryTypes: ['gc'] })
  return () => observer.disconnect()
}
