import { withDefaults } from '../../client/registry/defaults.ts'
import type { Recorder } from '../../client/registry/recorder.ts'
import type { SealedFrame } from '../../client/transport/transport.ts'
import { encodeBundle } from '../../client/wire/bundle.ts'
import { utf8 } from '../../client/wire/bytes.ts'
import { Refusal, unavailable } from '../answers.ts'
import type { IncomingMeasurement, MeasurementSink, Sink } from '../ingest/sink.ts'
import { HELD_SERIES, createRecorder } from '../recorder.ts'
import type { Objects } from './objects.ts'
import { MAX_FRAME_BYTES } from './frame-store.ts'

/** What posts are asked to wait for when an object is full, seconds: room comes by the post. */
const FULL_SECONDS = '5'

/**
 * Puts what is posted into the relay's objects. Nothing in here waits for another request: on Workers that one may be gone.
 */
export class RelaySink implements Sink {
  readonly full = false
  readonly #objects: Objects
  readonly #salt: string
  #recorder = createRecorder()
  #defaults = withDefaults({})

  /** @param salt what only the operator knows: without it, nobody can say which publisher a key becomes */
  constructor(objects: Objects, salt: string) {
    this.#objects = objects
    this.#salt = salt
  }

  /** The relay is there to take what cannot go on yet. */
  connected(): boolean {
    return true
  }

  record(measurement: IncomingMeasurement): string | undefined {
    return this.#recorder.record(measurement, this.#defaults)
  }

  /** At once: one post's measurements are one post's frames. */
  async sealed(): Promise<boolean> {
    const recorder = this.#recorder
    const frames = recorder.seal()
    if (recorder.size > HELD_SERIES) recorder.forgetIdle(this.#defaults)
    try {
      return await this.offer(frames)
    } catch (error) {
      // a publisher anew, so that nobody finds these frames missing
      if (recorder === this.#recorder) this.#renew()
      throw error
    }
  }

  /** A post of its own publisher, which a repeat of it is too, whichever isolate takes that. */
  keyed(identity: string): MeasurementSink {
    let digest = new Uint8Array()
    const recorder: Recorder = createRecorder((bytes) => {
      bytes.set(digest.subarray(0, bytes.length))
      return bytes
    })
    const defaults = withDefaults({})
    return {
      record: (measurement) => recorder.record(measurement, defaults),
      sealed: async () => {
        const text = utf8(`${this.#salt}\0${identity}`) as Uint8Array<ArrayBuffer>
        digest = new Uint8Array(await crypto.subtle.digest('SHA-256', text))
        return this.offer(recorder.seal())
      },
    }
  }

  /** @throws Refusal when they were not all stored; some may have been, and are told when they come again */
  async offer(frames: readonly SealedFrame[]): Promise<boolean> {
    const groups = new Map<number, Uint8Array[]>()
    for (const { shard, bytes } of frames) {
      if (bytes.length > MAX_FRAME_BYTES) {
        throw new Refusal('too_large', `a frame has ${bytes.length} bytes; the relay takes up to ${MAX_FRAME_BYTES}`)
      }
      const group = this.#objects.groupOf(shard)
      const own = groups.get(group)
      if (own === undefined) groups.set(group, [bytes])
      else own.push(bytes)
    }
    const stores = Array.from(groups, ([group, own]) => this.#objects.store(group, encodeBundle(own)))
    for (const result of await Promise.allSettled(stores)) {
      if (result.status === 'rejected') {
        throw unavailable("the relay's storage does not answer", result.reason)
      }
      if ('stored' in result.value) continue
      const why = result.value.refused === 'bytes' ? 'what it took cannot go out' : 'it remembers too many publishers'
      throw new Refusal('overloaded', `the relay is full, as ${why}; retry later`, { 'retry-after': FULL_SECONDS })
    }
    return true
  }

  #renew(): void {
    this.#recorder = createRecorder()
    this.#defaults = withDefaults({})
  }
}
