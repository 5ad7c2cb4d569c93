import { Backend, type Rollup, type Window } from '../../../backends/backend.ts'
import type { DeliveryLog, Target } from '../../../backends/worker/deliver.ts'
import type { Frame } from '../../../client/wire/frame.ts'

type Flush = (window: Window, signal: AbortSignal) => Promise<void> | void

/** A backend that keeps what it takes. */
export class Collecting extends Backend {
  readonly name: string = 'collecting'
  readonly taken: Window[] = []
  readonly frames: Frame[] = []
  /** Flushes begun, the failed ones too. */
  attempts = 0
  closed = 0
  /** What the next flushes do instead, one after the other. */
  readonly script: Flush[] = []
  /** What all flushes do once the script is played. */
  always: Flush | undefined

  override async flush(window: Window, signal: AbortSignal): Promise<void> {
    this.attempts++
    await (this.script.shift() ?? this.always)?.(window, signal)
    this.taken.push(window)
  }

  override async close(): Promise<void> {
    this.closed++
  }

  get ends(): number[] {
    return this.taken.map(({ end }) => end)
  }

  rollups(name: string): Rollup[] {
    return this.taken.flatMap(({ rollups }) => rollups.filter((rollup) => rollup.name === name))
  }

  /** What counters of a name add up to. */
  sum(name: string): number {
    return this.rollups(name).reduce((sum, rollup) => sum + (rollup.type === 'counter' ? rollup.value : 0), 0)
  }
}

/** One that sees every frame too. */
export class Receiving extends Collecting {
  override receive(frame: Frame): void {
    this.frames.push(frame)
  }
}

export function target(backend: Backend, parts: Partial<Target> = {}): Target {
  return { backend, key: 'a', label: 'a', inDoubt: 'drop', timeoutMs: 5_000, backoffMs: 5, ...parts }
}

/** What was logged, as `level message`. */
export class KeptLog implements DeliveryLog {
  readonly lines: string[] = []

  info(_fields: object, message: string): void {
    this.lines.push(`info ${message}`)
  }

  warn(_fields: object, message: string): void {
    this.lines.push(`warn ${message}`)
  }
}

export function hang(): Promise<never> {
  return new Promise(() => {})
}
