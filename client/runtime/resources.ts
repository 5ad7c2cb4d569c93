import type { Target } from './instruments.ts'
import { every } from './ticking.ts'

/** What keeps the event loop alive, by Node's name for its kind: timers, sockets, requests. A kind that was seen once is told of on. */
export function observeResources({ instruments, prefix, intervalMs }: Target): () => void {
  let counts = new Map<string, number>()
  const stops = new Map<string, () => void>()
  const look = (): void => {
    counts = new Map()
    for (const type of process.getActiveResourcesInfo()) counts.set(type, (counts.get(type) ?? 0) + 1)
    for (const type of counts.keys()) {
      if (stops.has(type)) continue
      const gauge = instruments.gauge(`${prefix}node.resources`, { combine: 'sum', tags: { type } })
      stops.set(
        type,
        gauge.observe(() => counts.get(type) ?? 0),
      )
    }
  }
  look()
  const stopLooking = every(intervalMs, look)
  return () => {
    stopLooking()
    for (const stop of stops.values()) stop()
  }
}
