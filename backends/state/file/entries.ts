import type { LogEntry } from '../state.ts'
import type { EntryIndex } from './entry-index.ts'
import type { LogFile } from './log-file.ts'
import { BUNDLE_HEAD } from './record.ts'

// read ahead at a time
const MAX_BYTES = 1 << 20
const MAX_ENTRIES = 256

// entries this close are read in one go, with what lies between them
const CLOSE = 4096

// where a bundle's record has its time
const TIME_BEFORE = 8

interface Place {
  readonly number: number
  readonly offset: number
  readonly length: number
}

/**
 * Reads entries of one shard as they are asked for.
 *
 * @param log the file that the index speaks of; after a rewrite, another one
 * @param from number of the first
 * @param to number of the first that is not meant; those trimmed by the time they would be read are passed over
 */
export async function* readEntries(
  log: () => LogFile,
  index: EntryIndex,
  from: number,
  to: number,
): AsyncGenerator<LogEntry, void> {
  let number = from
  while ((number = Math.max(number, index.first)) < to) {
    const runs = planRuns(index, number, to)
    // all begun at once, on one file: a rewrite may swap it while they are under way
    const blocks = await Promise.all(runs.map((run) => readRun(log(), run)))
    for (const block of blocks) yield* block
    number = ((runs.at(-1) as Place[]).at(-1) as Place).number + 1
  }
}

function planRuns(index: EntryIndex, from: number, to: number): Place[][] {
  const runs: Place[][] = []
  let end = Number.NEGATIVE_INFINITY
  let bytes = 0
  for (let number = from; number < to && number - from < MAX_ENTRIES && bytes < MAX_BYTES; number++) {
    const place = { number, offset: index.offset(number), length: index.length(number) }
    if (place.offset - end <= CLOSE) runs.at(-1)?.push(place)
    else runs.push([place])
    end = place.offset + place.length
    bytes += place.length
  }
  return runs
}

async function readRun(file: LogFile, run: readonly Place[]): Promise<LogEntry[]> {
  const first = run[0] as Place
  const last = run.at(-1) as Place
  const start = first.offset - BUNDLE_HEAD
  const block = await file.read(start, last.offset + last.length - start)
  const view = new DataView(block.buffer, block.byteOffset)
  return run.map(({ number, offset, length }) => ({
    position: String(number),
    timeMs: view.getFloat64(offset - start - TIME_BEFORE, true),
    bundle: block.subarray(offset - start, offset - start + length),
  }))
}
