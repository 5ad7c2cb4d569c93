/** How far an object is, and what became of the frames it had; kept with them. */
export interface Progress {
  /** Frames of the oldest row that are settled. */
  done: number
  /** How far frames may have arrived without an answer: so many of this row, and all before it. */
  doubt?: { readonly row: number; readonly frames: number; readonly sinceMs: number } | undefined
  /** How often in a row sending has failed. */
  failures: number
  /** Why it last did. */
  trouble?: string | undefined
  /** Frames that upstream has taken. */
  forwarded: number
  /** Frames given up that may have arrived. */
  unknown: number
  /** Frames given up, by reason. */
  dropped: Record<string, number>
  /** Frames that had come before. */
  repeats: number
  /** Bundles that were not stored, as there was no room. */
  refused: number
}

export function newProgress(): Progress {
  return { done: 0, failures: 0, forwarded: 0, unknown: 0, dropped: {}, repeats: 0, refused: 0 }
}
