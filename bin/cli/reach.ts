import type { Lifetime } from './lifetime.ts'
import type { Logger } from './log.ts'

const LOOK_MS = 500
/** How long a broker may be away before that is said: a restart takes less. */
const PATIENCE_MS = 5_000

export interface Reach {
  /** By what they are called where they were named. */
  readonly brokers: readonly string[]
  /** How many of them answer. */
  readonly answering: () => number
  /** What it means that some do not, and what to do. */
  readonly meanwhile: string
}

/** Has the log say when brokers do not answer, which otherwise shows in what does not happen, and when they do again. */
export function watchBrokers(lifetime: Lifetime, log: Logger, { brokers, answering, meanwhile }: Reach): void {
  let awaySince: number | undefined = performance.now()
  let isSaid = false
  const look = (): void => {
    const count = answering()
    if (count >= brokers.length) {
      if (isSaid) log.info({ brokers }, 'brokers answer')
      awaySince = undefined
      isSaid = false
      return
    }
    awaySince ??= performance.now()
    if (isSaid || performance.now() - awaySince < PATIENCE_MS) return
    isSaid = true
    log.warn({ brokers, answering: count }, `brokers do not answer: ${meanwhile}`)
  }
  const timer = setInterval(look, LOOK_MS)
  lifetime.owns('watch', async () => clearInterval(timer))
}
