import { Recorder } from '../client/registry/recorder.ts'

/** Series held between ticks, so that those that come again need not be made again. */
export const HELD_SERIES = 20_000

/**
 * What gathers measurements that have no identity of their own, as a publisher.
 *
 * @param random fills the publisher's 8 bytes; default: at random
 */
export function createRecorder(
  random: (bytes: Uint8Array) => Uint8Array = (bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
): Recorder {
  return new Recorder({
    // the bound on what clients send is theirs and the workers'; here series live for a tick
    maxSeries: Number.POSITIVE_INFINITY,
    onFrame: () => {},
    random,
    // every refusal is answered to whoever posted it
    warn: () => {},
  })
}
