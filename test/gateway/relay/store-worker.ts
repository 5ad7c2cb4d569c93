import { eachFrame, encodeBundle } from '../../../client/wire/bundle.ts'
import { readHeader } from '../../../client/wire/frame.ts'
import { FrameStore } from '../../../gateway/relay/frame-store.ts'
import type { ObjectNamespace, ObjectState } from '../../../gateway/relay/runtime.ts'
import { counterFrame } from '../fake-sink.ts'

/** A frame of a test: its publisher, its seq, and how many entries it has. */
export type Id = readonly [publisher: number, seq: number, many: number]

export type Command =
  | { readonly do: 'take'; readonly bundles: readonly (readonly Id[])[] }
  /** Sends what is oldest: it is answered for, or not, or surely not taken. */
  | {
      readonly do: 'send'
      readonly bytes: number
      readonly frames: number
      readonly end: 'taken' | 'silence' | 'untouched'
    }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'reopen' }

/** What came of a command, and how the store is after it. */
export interface Outcome {
  readonly stored?: readonly number[]
  readonly sent?: readonly string[]
  readonly gaveUp?: number
  readonly waiting: number
  readonly forwarded: number
  readonly unknown: number
}

/** Runs commands on a store of its own, in real SQLite, with a clock turned by hand. */
export class StoreObject {
  readonly #state: ObjectState

  constructor(state: ObjectState) {
    this.#state = state
  }

  async fetch(request: Request): Promise<Response> {
    let nowMs = 1_700_000_000_000
    const open = (): FrameStore => new FrameStore(this.#state.storage, { maxBytes: 1 << 30, now: () => nowMs })
    let store = open()
    const outcomes: Outcome[] = []
    for (const command of (await request.json()) as Command[]) {
      let came: Pick<Outcome, 'stored' | 'sent' | 'gaveUp'> = {}
      if (command.do === 'reopen') store = open()
      else if (command.do === 'wait') nowMs += command.ms
      else if (command.do === 'take') came = { stored: take(store, command.bundles) }
      else came = { gaveUp: store.giveUp(), sent: send(store, command) }
      const { forwarded, unknown } = store.progress
      outcomes.push({ ...came, waiting: store.frames, forwarded, unknown })
    }
    return Response.json(outcomes)
  }
}

function take(store: FrameStore, bundles: readonly (readonly Id[])[]): number[] {
  const encoded = bundles.map((ids) =>
    encodeBundle(ids.map(([publisher, seq, many]) => counterFrame({ publisher, seq, many }))),
  )
  return store.take(encoded).map((taken) => ('stored' in taken ? taken.stored : -1))
}

function send(store: FrameStore, { bytes, frames, end }: Extract<Command, { do: 'send' }>): string[] {
  const batch = store.oldest(bytes, frames)
  if (batch === undefined) return []
  const isFirst = store.expose(batch)
  if (end === 'taken') store.settle(batch, { forwarded: batch.frames })
  if (end === 'untouched' && isFirst) store.withdraw()
  const sent: string[] = []
  eachFrame(batch.bundle, (from, to) => {
    const { publisher, seq } = readHeader(batch.bundle, from, to)
    sent.push(`${publisher.low} ${seq}`)
  })
  return sent
}

export default {
  fetch(request: Request, { STORE }: { STORE: ObjectNamespace }): Promise<Response> {
    const object = STORE.get(STORE.idFromName(new URL(request.url).pathname))
    return object.fetch('https://store', { method: 'POST', body: request.body, duplex: 'half' } as RequestInit)
  },
}
