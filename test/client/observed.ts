import { MemoryMetrics } from '../../client/transport/metrics.ts'
import { Zibrato } from '../../client/platform/node.ts'
import type { ZibratoOptions } from '../../client/options.ts'
import type { Warning } from '../../client/warning.ts'

export interface Observed {
  readonly z: Zibrato
  readonly metrics: MemoryMetrics
  readonly warnings: Warning[]
}

/** A client whose frames and warnings a test can look at. */
export function observed(options: ZibratoOptions = {}): Observed {
  const metrics = new MemoryMetrics()
  const warnings: Warning[] = []
  const z = new Zibrato({ transport: metrics, onWarning: (warning) => warnings.push(warning), ...options })
  return { z, metrics, warnings }
}
