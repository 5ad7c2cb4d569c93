import { inspect } from 'node:util'
import { type Backend, PermanentError, type Rollup, type Window } from './backend.ts'
import { type RollupRecord, recordOf } from './record.ts'
import { extremeRollups, manyRollups, oddlyNamedRollups, rollupsOfEveryType, sampleWindow } from './samples.ts'

/** What the contract suite has to know of a backend and its target: a server, a file, a terminal. */
export interface BackendSetup {
  /** A backend that is not connected yet, and a new, empty target for it. Called once for each check. */
  create(): Backend | Promise<Backend>
  /** All that the newest target holds, in the order it came: {@link RollupRecord}s, or what `expected` makes of them. */
  received(): readonly object[] | Promise<readonly object[]>
  /**
   * What a record becomes at the target; several objects, or none, as need be. Without it, the record as it is. Round or
   * rename here what the target cannot hold, so that the rest is still compared.
   */
  expected?(record: RollupRecord): readonly object[]
  /** Makes the target refuse or vanish, as in an outage that will pass. */
  breakTarget?(): void | Promise<void>
  /** Makes the target accept and then say nothing. */
  hangTarget?(): void | Promise<void>
  /** Ends what `breakTarget` or `hangTarget` began. Needed with either. */
  mendTarget?(): void | Promise<void>
  /** What must not be seen in names and errors. */
  readonly secrets?: readonly string[]
  /** How long a flush or close may take, and what it sent to arrive, before the check fails; 15 s and 5 s unless set. */
  readonly patienceMs?: number
  /** Called last in each check. */
  destroy?(): void | Promise<void>
}

export interface ContractCheck {
  /** A sentence about the backend: "takes a window without rollups". */
  readonly title: string
  /** @throws Error saying what was expected */
  readonly run: () => Promise<void>
}

// far more than any target takes; only what hangs reaches it
const PATIENCE_MS = 15_000
// what travels by itself, as UDP does, may take a moment after flush
const ARRIVAL_MS = 5000

/**
 * The checks that every backend passes, for any test runner:
 *
 * ```ts
 * for (const { title, run } of backendContract(setup)) test(title, run)
 * ```
 */
export function backendContract(setup: BackendSetup): readonly ContractCheck[] {
  const checks: ContractCheck[] = []
  const check = (title: string, body: (trial: Trial) => Promise<void>): void => {
    checks.push({ title, run: () => runCheck(setup, body) })
  }

  check('has a short name without secrets', async (trial) => {
    const { name } = trial.backend
    trial.must(
      typeof name === 'string' && /^[\x20-\x7e]{1,64}$/.test(name),
      `a name of 1 to 64 plain characters, not ${inspect(name)}`,
    )
    trial.mustHide(name)
  })
  check('takes a rollup of every type', (trial) => trial.takes(sampleWindow(rollupsOfEveryType())))
  check('keeps odd names, sources and tags apart and whole', (trial) => trial.takes(sampleWindow(oddlyNamedRollups())))
  check('keeps huge, tiny, negative and fractional numbers', (trial) => trial.takes(sampleWindow(extremeRollups())))
  check('takes a window without rollups', (trial) => trial.takes(sampleWindow([])))
  check('takes 10,000 rollups in one window', (trial) => trial.takes(sampleWindow(manyRollups(10_000))))
  check('takes windows one after another, in their order', async (trial) => {
    for (let index = 0; index < 5; index++) await trial.takes(sampleWindow(rollupsOfEveryType(), index))
  })
  check('takes several windows of one end', async (trial) => {
    const rollups = rollupsOfEveryType()
    await trial.takes(sampleWindow(rollups.slice(0, 3)))
    await trial.takes(sampleWindow(rollups.slice(3)))
  })
  check('leaves the window as it is', (trial) => trial.takes(frozen(sampleWindow(rollupsOfEveryType()))))
  check('ends with the same when a window is sent again, if it says it is idempotent', async (trial) => {
    const window = sampleWindow(rollupsOfEveryType())
    await trial.takes(window)
    if (trial.backend.idempotent) await trial.flush(window)
  })
  check('takes a window once after a flush whose signal was aborted already', async (trial) => {
    const window = sampleWindow(rollupsOfEveryType())
    const refused = await trial.outcome(trial.backend.flush(window, AbortSignal.abort()))
    if (refused === undefined) trial.accepted.push(window)
    else await trial.takes(window)
  })
  check('has delivered what it took once it is closed, and may be closed again', async (trial) => {
    await trial.takes(sampleWindow(rollupsOfEveryType()))
    await trial.close()
    await trial.close()
  })
  if (setup.breakTarget !== undefined) {
    check('takes windows once and whole after an outage', async (trial) => {
      await trial.takes(sampleWindow(rollupsOfEveryType(), 0))
      await setup.breakTarget?.()
      const window = sampleWindow(manyRollups(1000), 1)
      for (let attempt = 0; attempt < 2; attempt++) await trial.refuses(window)
      await setup.mendTarget?.()
      await trial.takes(window)
      await trial.takes(sampleWindow(rollupsOfEveryType(), 2))
    })
  }
  if (setup.hangTarget !== undefined) {
    check('gives up a flush that hangs when its signal is aborted', async (trial) => {
      await setup.hangTarget?.()
      const window = sampleWindow(rollupsOfEveryType())
      const giveUp = new AbortController()
      const flush = trial.outcome(trial.backend.flush(window, giveUp.signal))
      // long enough for it to be under way
      setTimeout(() => giveUp.abort(), 50)
      trial.must((await flush) !== undefined, 'a flush to a target that hangs to reject once its signal is aborted')
      await setup.mendTarget?.()
      await trial.takes(window)
      // what hung may have arrived all the same; only who overwrites can promise more
      trial.comparable = trial.backend.idempotent
    })
  }
  return checks
}

async function runCheck(setup: BackendSetup, body: (trial: Trial) => Promise<void>): Promise<void> {
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => void unhandled.push(reason)
  process.on('unhandledRejection', note)
  try {
    const trial = new Trial(await setup.create(), setup)
    try {
      await trial.backend.connect?.()
      await body(trial)
    } finally {
      await trial.close()
    }
    await trial.compare()
    // Node reports rejections once the microtasks are through
    await new Promise((resolve) => setImmediate(resolve))
    trial.must(unhandled.length === 0, `no unhandled rejection, not ${inspect(unhandled[0])}`)
  } finally {
    process.off('unhandledRejection', note)
    await setup.destroy?.()
  }
}

/** One backend in one check, and what it has accepted. */
class Trial {
  readonly backend: Backend
  readonly accepted: Window[] = []
  /** Whether what is accepted says what the target holds. */
  comparable = true
  readonly #setup: BackendSetup
  readonly #patienceMs: number

  constructor(backend: Backend, setup: BackendSetup) {
    this.backend = backend
    this.#setup = setup
    this.#patienceMs = setup.patienceMs ?? PATIENCE_MS
  }

  /** Flushes, and expects the window at the target. */
  async takes(window: Window): Promise<void> {
    await this.flush(window)
    this.accepted.push(window)
  }

  async flush(window: Window): Promise<void> {
    const error = await this.outcome(this.backend.flush(window, AbortSignal.timeout(this.#patienceMs)))
    this.must(error === undefined, `flush to take a window of ${window.rollups.length} rollups; it rejected`, error)
  }

  async refuses(window: Window): Promise<void> {
    const error = await this.outcome(this.backend.flush(window, AbortSignal.timeout(this.#patienceMs)))
    this.must(error !== undefined, 'flush to reject while its target is broken; it resolved')
    const permanent = error instanceof PermanentError || (error as Error).name === 'PermanentError'
    this.must(!permanent, 'an outage to be no PermanentError: the window would be dropped', error)
    this.mustHide(inspect(error))
  }

  /** Undefined when it resolved, else why it rejected; throws when it does neither. */
  async outcome(flush: Promise<void>): Promise<unknown> {
    const settled = flush.then(
      () => undefined,
      (error: unknown) => error ?? new Error('rejected with nothing'),
    )
    return this.#within(settled, 'flush to settle')
  }

  async close(): Promise<void> {
    await this.#within(Promise.resolve(this.backend.close?.()), 'close to resolve')
  }

  /** Waits until the target holds what was accepted, and nothing else. */
  async compare(): Promise<void> {
    if (!this.comparable) return
    const wanted = this.accepted.flatMap((window) =>
      window.rollups.flatMap((rollup) => this.#expected(recordOf(window, rollup))),
    )
    const deadline = performance.now() + Math.min(ARRIVAL_MS, this.#patienceMs)
    let received = await this.#setup.received()
    // more than was wanted never gets better
    while (received.length < wanted.length && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 10))
      received = await this.#setup.received()
    }
    const difference = differenceOf(wanted.map(canonical), received.map(canonical))
    this.must(difference === undefined, `the target to hold what was accepted; ${difference}`)
    const times = received
      .map((object) => (object as { time?: unknown }).time)
      .filter((time) => typeof time === 'number')
    const inOrder = times.every((time, index) => index === 0 || (times[index - 1] as number) <= time)
    this.must(inOrder, 'windows to arrive in their order')
  }

  must(holds: boolean, expected: string, cause?: unknown): void {
    if (holds) return
    const name = String(this.backend.name)
    throw new Error(`backend contract: expected of ${name}: ${expected}`, cause === undefined ? {} : { cause })
  }

  mustHide(text: string): void {
    const shown = this.#setup.secrets?.some((secret) => text.includes(secret)) === true
    this.must(!shown, 'no secret in a name or an error; there is one')
  }

  #expected(record: RollupRecord): readonly object[] {
    return this.#setup.expected === undefined ? [record] : this.#setup.expected(record)
  }

  async #within<T>(work: Promise<T>, expected: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      const error = new Error(`backend contract: expected of ${String(this.backend.name)}: ${expected}; it still hangs`)
      timer = setTimeout(() => reject(error), 2 * this.#patienceMs)
    })
    try {
      return await Promise.race([work, late])
    } finally {
      clearTimeout(timer)
    }
  }
}

/** JSON with sorted keys, so that equal objects are equal texts. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'undefined'
  const keys = Object.keys(value).sort()
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical((value as Record<string, unknown>)[key])}`).join()}}`
}

function differenceOf(wanted: readonly string[], received: readonly string[]): string | undefined {
  const counts = new Map<string, number>()
  for (const text of wanted) counts.set(text, (counts.get(text) ?? 0) + 1)
  for (const text of received) counts.set(text, (counts.get(text) ?? 0) - 1)
  const missing = [...counts].filter(([, count]) => count > 0).map(([text]) => text)
  const surplus = [...counts].filter(([, count]) => count < 0).map(([text]) => text)
  if (missing.length === 0 && surplus.length === 0) return undefined
  const some = (texts: readonly string[]): string =>
    `${texts.length} ${texts.length === 0 ? '' : `(such as ${(texts[0] as string).slice(0, 400)})`}`.trimEnd()
  return `missing: ${some(missing)}; too much or too often: ${some(surplus)}`
}

function frozen(window: Window): Window {
  const freeze = (rollup: Rollup): Rollup => {
    for (const part of Object.values(rollup)) if (typeof part === 'object' && part !== null) Object.freeze(part)
    return Object.freeze(rollup)
  }
  return Object.freeze({ ...window, rollups: Object.freeze(window.rollups.map(freeze)) })
}
