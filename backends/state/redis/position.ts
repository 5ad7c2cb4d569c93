/** The parts of a stream's entry id, `ms-sequence`. */
function parse(position: string): [ms: bigint, sequence: bigint] | undefined {
  const match = /^(\d{1,20})-(\d{1,20})$/.exec(position)
  return match === null ? undefined : [BigInt(match[1] as string), BigInt(match[2] as string)]
}

/** When an entry was received, ms by the clock of its node. */
export function timeOf(position: string): number {
  return Number.parseInt(position, 10)
}

/** The first id behind a position. */
export function positionAfter(position: string): string {
  const [ms, sequence] = parse(position) ?? [0n, 0n]
  return `${ms}-${sequence + 1n}`
}

/** Whether a text is an id that lies at or behind one and not behind another. */
export function isPosition(position: string, from: string, to: string): boolean {
  const [own, low, high] = [parse(position), parse(from), parse(to)]
  return own !== undefined && low !== undefined && high !== undefined && order(low, own) <= 0 && order(own, high) <= 0
}

function order([ms, sequence]: [bigint, bigint], [otherMs, otherSequence]: [bigint, bigint]): number {
  const difference = ms === otherMs ? sequence - otherSequence : ms - otherMs
  return difference < 0n ? -1 : difference > 0n ? 1 : 0
}
