import { channel } from 'node:diagnostics_channel'
import type { WarningSink } from '../warning.ts'

const warnings = channel('zibrato:warning')

/** A sink that tells the diagnostics channel `zibrato:warning` and the program's own listener, and never throws. */
export function tell(onWarning: WarningSink | undefined): WarningSink {
  return (warning) => {
    try {
      warnings.publish(warning)
      onWarning?.(warning)
    } catch {
      // nobody's work must suffer from a listener's error
    }
  }
}
