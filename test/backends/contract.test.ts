import { describe, expect, test } from 'vitest'
import { Backend, PermanentError, type Window } from '../../backends/backend.ts'
import { type RollupRecord, recordOf } from '../../backends/record.ts'
import { backendContract } from '../../backends/testing.ts'

/** A server in a variable. */
class Target {
  records: RollupRecord[] = []
  mood: 'well' | 'broken' | 'hanging' = 'well'

  async take(records: RollupRecord[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.mood === 'broken') throw new Error('the target is broken')
    if (this.mood === 'hanging') {
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
    }
    this.records.push(...records)
  }
}

class Sound extends Backend {
  readonly name: string = 'sound'
  readonly target: Target

  constructor(target: Target) {
    super()
    this.target = target
  }

  async flush(window: Window, signal: AbortSignal): Promise<void> {
    await this.target.take(this.recordsOf(window), signal)
  }

  protected recordsOf(window: Window): RollupRecord[] {
    return window.rollups.map((rollup) => recordOf(window, rollup))
  }
}

/** The titles of the checks (of all, or of `only`) that a backend fails, with their errors. */
async function failures(make: (target: Target) => Backend, only?: string): Promise<Map<string, Error>> {
  let target = new Target()
  const failed = new Map<string, Error>()
  const checks = backendContract({
    create: () => make((target = new Target())),
    received: () => target.records,
    breakTarget: () => void (target.mood = 'broken'),
    hangTarget: () => void (target.mood = 'hanging'),
    mendTarget: () => void (target.mood = 'well'),
    secrets: ['opensesame'],
    patienceMs: 1000,
  })
  for (const { title, run } of checks) {
    if (only !== undefined && title !== only) continue
    await run().catch((error: unknown) => failed.set(title, error as Error))
  }
  return failed
}

test('a sound backend passes every check', async () => {
  expect([...(await failures((target) => new Sound(target))).values()]).toEqual([])
})

describe('the contract suite catches a backend that', () => {
  test('loses a window after a failed flush', async () => {
    class Loses extends Sound {
      #failed = new Set<Window>()
      override async flush(window: Window, signal: AbortSignal): Promise<void> {
        if (this.#failed.has(window)) return
        this.#failed.add(window)
        await super.flush(window, signal)
      }
    }
    const failed = await failures((target) => new Loses(target))
    expect(failed.get('takes windows once and whole after an outage')?.message).toContain(
      'expected of sound: flush to reject while its target is broken',
    )
  })

  test('swallows what its target refuses', async () => {
    class Swallows extends Sound {
      override flush(window: Window, signal: AbortSignal): Promise<void> {
        return super.flush(window, signal).catch(() => {})
      }
    }
    const failed = await failures((target) => new Swallows(target))
    expect([...failed.keys()]).toContain('takes windows once and whole after an outage')
    expect([...failed.keys()]).toContain('takes a window once after a flush whose signal was aborted already')
  })

  test('leaves half of a failed window behind and writes it again', async () => {
    class Halves extends Sound {
      override async flush(window: Window, signal: AbortSignal): Promise<void> {
        if (this.target.mood === 'broken') this.target.records.push(...this.recordsOf(window).slice(0, 10))
        await super.flush(window, signal)
      }
    }
    const failed = await failures((target) => new Halves(target))
    expect([...failed.keys()]).toEqual(['takes windows once and whole after an outage'])
    expect([...failed.values()][0]?.message).toMatch(/missing: 0; too much or too often: 10 \(such as /)
  })

  test('takes an outage for the end', async () => {
    class GivesUp extends Sound {
      override flush(window: Window, signal: AbortSignal): Promise<void> {
        return super.flush(window, signal).catch((cause: unknown) => {
          throw new PermanentError('no', { cause })
        })
      }
    }
    const failed = await failures((target) => new GivesUp(target))
    expect([...failed.values()].map(({ message }) => message).join()).toContain('no PermanentError')
  })

  test('does not look at its signal', async () => {
    class Deaf extends Sound {
      override flush(window: Window): Promise<void> {
        return super.flush(window, AbortSignal.timeout(10_000))
      }
    }
    const failed = await failures((target) => new Deaf(target))
    expect([...failed.keys()]).toEqual(['gives up a flush that hangs when its signal is aborted'])
  })

  test('mixes series up, changes names or numbers, or leaves some out', async () => {
    const every = 'takes a rollup of every type'
    const spoils: [check: string, spoil: (records: RollupRecord[]) => RollupRecord[]][] = [
      [every, (records) => records.map((record) => ({ ...record, tags: {} }))],
      [every, (records) => records.map((record) => ({ ...record, rate: 0 }))],
      [every, (records) => records.filter(({ type }) => type !== 'set')],
      ['takes 10,000 rollups in one window', (records) => records.slice(0, 9999)],
      [
        'keeps odd names, sources and tags apart and whole',
        (records) => records.map((record) => ({ ...record, name: record.name.normalize('NFC') })),
      ],
    ]
    for (const [title, spoil] of spoils) {
      class Spoils extends Sound {
        protected override recordsOf(window: Window): RollupRecord[] {
          return spoil(super.recordsOf(window))
        }
      }
      const failed = await failures((target) => new Spoils(target), title)
      expect(failed.get(title)?.message).toMatch(/missing: \d+ \(such as/)
    }
  })

  test('turns windows round, or changes them', async () => {
    class TurnsRound extends Sound {
      override async flush(window: Window, signal: AbortSignal): Promise<void> {
        await super.flush(window, signal)
        this.target.records.sort((left, right) => right.time - left.time)
      }
    }
    const failed = await failures((target) => new TurnsRound(target))
    expect(failed.get('takes windows one after another, in their order')?.message).toContain('in their order')
    class Changes extends Sound {
      override async flush(window: Window, signal: AbortSignal): Promise<void> {
        ;(window.rollups as unknown[]).reverse()
        await super.flush(window, signal)
      }
    }
    expect([...(await failures((target) => new Changes(target))).keys()]).toEqual(['leaves the window as it is'])
  })

  test('says it is idempotent and is not', async () => {
    class Doubles extends Sound {
      override readonly idempotent = true
    }
    const failed = await failures((target) => new Doubles(target))
    expect([...failed.keys()]).toContain('ends with the same when a window is sent again, if it says it is idempotent')
  })

  test('shows a secret in its name or an error', async () => {
    class Tells extends Sound {
      override readonly name = 'sound opensesame'
    }
    class Cries extends Sound {
      override flush(window: Window, signal: AbortSignal): Promise<void> {
        return super.flush(window, signal).catch((error: Error) => {
          throw new Error('no', { cause: new Error(`${error.message} at http://opensesame@host`) })
        })
      }
    }
    expect([...(await failures((target) => new Tells(target))).keys()]).toEqual(['has a short name without secrets'])
    const failed = await failures((target) => new Cries(target))
    expect([...failed.keys()]).toEqual(['takes windows once and whole after an outage'])
  })

  test('cannot be closed twice', async () => {
    class Once extends Sound {
      #closed = false
      override async close(): Promise<void> {
        if (this.#closed) throw new Error('closed already')
        this.#closed = true
      }
    }
    const failed = await failures((target) => new Once(target))
    expect([...failed.keys()]).toEqual(['has delivered what it took once it is closed, and may be closed again'])
  })
})
