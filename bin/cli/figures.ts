import type { DeliveryFigures, WorkerFigures } from '../../backends/worker/index.ts'
import type { TransportStats } from '../../client/transport/transport.ts'
import { type Figure, exposition } from '../../gateway/figures.ts'

/** What a worker says of itself, as Prometheus' text. */
export function workerMetrics(figures: WorkerFigures): string {
  const { merged, replays, invalid, refused, lost } = figures
  const backends = (pick: (figures: DeliveryFigures) => number): Record<string, number> =>
    Object.fromEntries(Object.entries(figures.backends).map(([label, own]) => [label, pick(own)]))
  const perBackend = (
    name: string,
    type: Figure['type'],
    help: string,
    pick: (figures: DeliveryFigures) => number,
  ): Figure => ({
    ...figure(`worker_backend_${name}`, type, help, backends(pick)),
    label: 'backend',
  })
  return exposition([
    {
      ...figure('worker_frames_total', 'counter', 'Frames by what became of them.', {
        merged,
        replays,
        invalid,
        refused,
        lost,
      }),
      label: 'outcome',
    },
    figure('worker_missing_frames', 'gauge', 'Frames not here yet though later ones are.', figures.missing),
    figure('worker_overflowed_total', 'counter', 'Times a series counted in zibrato.overflow.', figures.overflowed),
    figure('worker_series', 'gauge', 'Series held.', figures.series),
    figure('worker_publishers', 'gauge', 'Publishers remembered.', figures.publishers),
    figure('worker_windows_total', 'counter', 'Windows committed, by shard.', figures.windows),
    figure('worker_inbox_bytes', 'gauge', 'Bytes received and not yet in the log.', figures.inboxBytes),
    figure('worker_shards', 'gauge', "Shards that are this worker's.", figures.shards),
    figure('worker_brokers', 'gauge', 'Brokers connected to.', figures.connections),
    perBackend('windows_total', 'counter', 'Windows delivered.', ({ delivered }) => delivered),
    perBackend('rollups_total', 'counter', 'Rollups delivered.', ({ rollups }) => rollups),
    perBackend('failures_total', 'counter', 'Deliveries that failed.', ({ failures }) => failures),
    perBackend('refused_total', 'counter', 'Deliveries refused for good, dropped.', (own) => own.refused),
    perBackend('rollups_refused_total', 'counter', 'Rollups refused for good, dropped.', (own) => own.rollupsRefused),
    perBackend('doubted_total', 'counter', 'Windows in doubt after a crash, dropped.', ({ doubted }) => doubted),
    perBackend('pending', 'gauge', 'Windows waiting.', ({ pending }) => pending),
  ])
}

/** What a gateway says of the frames it sends on, as Prometheus' text. */
export function ringMetrics({ sent, replayed, waiting, waitingBytes, unknown, dropped }: TransportStats): string {
  return exposition([
    figure('gateway_frames_sent_total', 'counter', 'Frames sent on for the first time.', sent),
    figure('gateway_frames_replayed_total', 'counter', 'Frames sent on again.', replayed),
    figure('gateway_frames_waiting', 'gauge', 'Frames not sent on yet.', waiting),
    figure('gateway_frames_waiting_bytes', 'gauge', 'Bytes of those.', waitingBytes),
    figure('gateway_frames_unknown_total', 'counter', 'Frames given up that may have arrived.', unknown),
    { ...figure('gateway_frames_dropped_total', 'counter', 'Frames given up.', dropped), label: 'reason' },
  ])
}

function figure(name: string, type: Figure['type'], help: string, value: Figure['value']): Figure {
  return { name: `zibrato_${name}`, type, help, value }
}
