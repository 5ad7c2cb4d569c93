import { getHeapStatistics } from 'node:v8'
import type { Target } from './instruments.ts'

/** V8's heap, bytes: in use, taken from the system, and the most it may take. */
export function observeHeap(target: Target): () => void {
  return gauges(target, 'node.heap.', {
    used: () => getHeapStatistics().used_heap_size,
    total: () => getHeapStatistics().total_heap_size,
    limit: () => getHeapStatistics().heap_size_limit,
  })
}

/** The process' memory, bytes: resident, of objects outside of the heap, and the part of those that buffers are. */
export function observeMemory(target: Target): () => void {
  return gauges(target, 'node.memory.', {
    rss: () => process.memoryUsage.rss(),
    external: () => process.memoryUsage().external,
    array_buffers: () => process.memoryUsage().arrayBuffers,
  })
}

function gauges({ instruments, prefix }: Target, group: string, reads: Record<string, () => number>): () => void {
  const stops = Object.entries(reads).map(([name, read]) =>
    instruments.gauge(`${prefix}${group}${name}`, { combine: 'sum' }).observe(read),
  )
  return () => {
    for (const stop of stops) stop()
  }
}
