import type { Reporter } from '../reporters/reporter.ts'
import type { Warning } from '../warning.ts'
import { RegistryAggregator } from './aggregator.ts'
import type { Answer, Orders, Request } from './messages.ts'

/** The program of an aggregator's own process; {@link AggregatorProcess} starts it, and it ends with whoever did. */

/**
 * How often whoever started this process is given what it knows, for the next one should this one die. What came since is handed
 * in once more, so it must be well below the 15 s for which processes keep what they sent.
 */
const CHECKPOINT_MS = 2_000
/** The part of the time that may take. */
const CHECKPOINT_SHARE = 0.05

// the next process' clock goes on where this one's ends
const clock = { now: () => Date.now(), elapsed: () => performance.timeOrigin + performance.now() }

let aggregator: RegistryAggregator | undefined
let stopping = false

function answer(message: Answer): void {
  if (process.connected) process.send?.(message)
}

async function start({ module, ...options }: Orders, checkpoint: Uint8Array | undefined): Promise<void> {
  try {
    const reporters = module === undefined ? [] : await loadReporters(module)
    const onWarning = (warning: Warning): void => answer({ type: 'warning', warning })
    aggregator = new RegistryAggregator({ ...options, reporters, onWarning, clock })
    if (checkpoint !== undefined) aggregator.resume(checkpoint)
    await aggregator.start()
    keepCheckpoints(aggregator)
    answer({ type: 'ready' })
  } catch (cause) {
    const { code, message } = cause as { code?: string; message?: string }
    process.exitCode = 1
    process.send?.({ type: 'failed', code, message: message ?? String(cause) } satisfies Answer, () => process.exit())
  }
}

function keepCheckpoints(of: RegistryAggregator, mergedBefore = 0, pauseMs = CHECKPOINT_MS): void {
  setTimeout(() => {
    const startMs = performance.now()
    const { merged } = of.figures()
    if (merged > mergedBefore) answer({ type: 'checkpoint', checkpoint: of.checkpoint() })
    keepCheckpoints(of, merged, Math.max(CHECKPOINT_MS, (performance.now() - startMs) / CHECKPOINT_SHARE))
  }, pauseMs).unref()
}

async function loadReporters(module: string): Promise<Reporter[]> {
  try {
    const { default: exported } = (await import(module)) as { default?: unknown }
    const made: unknown = typeof exported === 'function' ? await exported() : exported
    const reporters = [made].flat()
    if (reporters.every(isReporter)) return reporters
    throw new TypeError('its default export is neither a reporter, nor several, nor a function that answers such')
  } catch (cause) {
    throw new Error(`aggregator: the module ${module} failed: ${(cause as Error).message}`, { cause })
  }
}

function isReporter(value: unknown): value is Reporter {
  const { start: begin, stop: end } = (value ?? {}) as Partial<Reporter>
  return typeof begin === 'function' && typeof end === 'function'
}

/** Takes what is on its way, has reporters report it, and ends. */
async function stop(): Promise<void> {
  if (stopping) return
  stopping = true
  await aggregator?.close()
  process.exit()
}

process.on('message', (request: Request) => {
  if (request.type === 'start') void start(request.orders, request.checkpoint)
  else if (request.type === 'stop') void stop()
  else if (aggregator !== undefined) {
    const reading = { stats: aggregator.getStats(), figures: aggregator.figures() }
    answer({ type: 'reading', id: request.id, reading })
  }
})
// whoever started it is gone, and so are all whom it could tell
process.on('disconnect', () => void stop())
// what is sent to a whole group is sent to those too who still have something to hand in
for (const signal of ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP'] as const) process.on(signal, () => {})
