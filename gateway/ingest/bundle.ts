import { InvalidFrameError } from '../../client/errors.ts'
import type { SealedFrame } from '../../client/transport/transport.ts'
import { eachFrame } from '../../client/wire/bundle.ts'
import { checkFrame } from '../../client/wire/frame.ts'
import { type Rules, checkCount, forbidden } from './json.ts'
import type { Ingested, Rejection } from './sink.ts'

/** A bundle's frames: those to be taken, and why the others are not. */
export interface IngestedBundle extends Ingested {
  /** Views of the body, which they keep alive. */
  readonly frames: readonly SealedFrame[]
}

/**
 * Reads a bundle, each frame to its last byte; a bad one takes no neighbour along. What follows a length that points past
 * the end cannot be told apart, and counts as one.
 *
 * @throws Refusal `too_large` for too many frames
 */
export function ingestBundle(body: Uint8Array, rules: Rules): IngestedBundle {
  const extents: number[] = []
  const rejected: Rejection[] = []
  let broken: string | undefined
  try {
    eachFrame(body, (start, end) => {
      extents.push(start, end)
      checkCount(extents.length / 2, 'frames', rules)
    })
  } catch (error) {
    broken = reasonOf(error)
  }
  const frames: SealedFrame[] = []
  let refusedLevels = 0
  for (let index = 0; index < extents.length / 2; index++) {
    const start = extents[index * 2] as number
    const end = extents[index * 2 + 1] as number
    try {
      const { level, shard, seq, closedMs } = checkFrame(body, start, end, true)
      if (rules.levels === undefined || rules.levels.has(level)) {
        frames.push({ bytes: body.subarray(start, end), level, shard, seq, closedMs })
      } else {
        refusedLevels++
        rejected.push({ index, reason: forbidden(level) })
      }
    } catch (error) {
      rejected.push({ index, reason: reasonOf(error) })
    }
  }
  if (broken !== undefined) rejected.push({ index: extents.length / 2, reason: broken })
  return { frames, accepted: frames.length, rejected, forbidden: refusedLevels }
}

function reasonOf(error: unknown): string {
  if (error instanceof InvalidFrameError) return error.message
  throw error
}
