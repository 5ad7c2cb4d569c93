import type { Target } from './instruments.ts'
import { every } from './ticking.ts'

/** CPU time of all threads, seconds, from now on; its rate is the number of cores in use. */
export function observeCpu({ instruments, prefix, intervalMs }: Target): () => void {
  const user = instruments.counter(`${prefix}node.cpu`, { tags: { mode: 'user' } })
  const system = instruments.counter(`${prefix}node.cpu`, { tags: { mode: 'system' } })
  let previous = process.cpuUsage()
  const count = (): void => {
    const current = process.cpuUsage()
    user.inc((current.user - previous.user) / 1e6)
    system.inc((current.system - previous.system) / 1e6)
    previous = current
  }
  const stopCounting = every(intervalMs, count)
  return () => {
    stopCounting()
    count()
  }
}
