import { type Figure, exposition } from '../figures.ts'
import type { Progress } from './progress.ts'

/** How an object is. */
export interface ObjectFigures extends Omit<Progress, 'done' | 'doubt'> {
  /** Frames that wait. */
  readonly frames: number
  readonly bytes: number
  /** For how long the oldest of them has, ms. */
  readonly waitedMs: number
  /** Publishers remembered, by shard and level. */
  readonly publishers: number
}

/** What a relay says of itself, as Prometheus' text; an object that did not answer is undefined. */
export function relayMetrics(objects: readonly (ObjectFigures | undefined)[]): string {
  const known = objects.filter((each) => each !== undefined)
  const sum = (pick: (figures: ObjectFigures) => number): number => known.reduce((all, each) => all + pick(each), 0)
  const byGroup = (pick: (figures: ObjectFigures) => number): Record<string, number> =>
    Object.fromEntries(objects.flatMap((each, group) => (each === undefined ? [] : [[String(group), pick(each)]])))
  const dropped: Record<string, number> = {}
  for (const each of known) {
    for (const [reason, frames] of Object.entries(each.dropped)) dropped[reason] = (dropped[reason] ?? 0) + frames
  }
  return exposition([
    figure(
      'frames_forwarded_total',
      'counter',
      'Frames that upstream has taken.',
      sum(({ forwarded }) => forwarded),
    ),
    figure(
      'frames_unknown_total',
      'counter',
      'Frames given up that may have arrived.',
      sum(({ unknown }) => unknown),
    ),
    { ...figure('frames_dropped_total', 'counter', 'Frames given up.', dropped), label: 'reason' },
    figure(
      'repeats_total',
      'counter',
      'Frames that had come before.',
      sum(({ repeats }) => repeats),
    ),
    figure(
      'posts_refused_total',
      'counter',
      'Bundles refused for want of room.',
      sum(({ refused }) => refused),
    ),
    figure(
      'frames_waiting',
      'gauge',
      'Frames not forwarded yet.',
      sum(({ frames }) => frames),
    ),
    {
      ...figure(
        'waiting_bytes',
        'gauge',
        'Bytes of those.',
        byGroup(({ bytes }) => bytes),
      ),
      label: 'group',
    },
    figure(
      'waiting_seconds',
      'gauge',
      'For how long the oldest has waited.',
      Math.max(0, ...known.map(({ waitedMs }) => waitedMs / 1000)),
    ),
    figure(
      'publishers',
      'gauge',
      'Publishers remembered, by shard and level.',
      sum(({ publishers }) => publishers),
    ),
    {
      ...figure(
        'upstream_up',
        'gauge',
        '1 while upstream takes what is sent.',
        byGroup(({ failures }) => (failures === 0 ? 1 : 0)),
      ),
      label: 'group',
    },
    {
      ...figure(
        'object_up',
        'gauge',
        '1 when the object answers.',
        Object.fromEntries(objects.map((each, group) => [String(group), each === undefined ? 0 : 1])),
      ),
      label: 'group',
    },
  ])
}

/** Why what is taken cannot go out. */
export function relayObstacle(objects: readonly (ObjectFigures | undefined)[]): string | undefined {
  if (objects.includes(undefined)) return "an object of the relay's does not answer"
  return objects.find((each) => each?.trouble !== undefined)?.trouble
}

function figure(name: string, type: Figure['type'], help: string, value: Figure['value']): Figure {
  return { name: `zibrato_relay_${name}`, type, help, value }
}
