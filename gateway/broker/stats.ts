import { type Figure, exposition } from '../figures.ts'

/** Figures since the start. */
export interface BrokerStats {
  /** Forwarded, and their bytes. */
  readonly messages: number
  readonly bytes: number
  /** Of those, messages of one part. */
  readonly textLines: number
  /** Frames in them, by level. */
  readonly frames: Readonly<Record<string, number>>
  /** Messages that were none: not forwarded. */
  readonly invalid: number
  /**
   * How often a subscriber was found at its high-water mark, and a message not queued for it. It is then passed over,
   * uncounted, until it has taken half of what is queued; what it missed, the owner of a shard counts by the gap.
   */
  readonly droppedForSlow: number
  /** Connected now. */
  readonly publishers: number
  readonly subscribers: number
  /** Connections that failed their handshake. */
  readonly refusedPeers: number
  /** Prefixes subscribed now. */
  readonly subscriptions: number
  /** Subscriptions ever seen, repeated ones and replay requests too. */
  readonly subscriptionsSeen: number
  readonly subscriptionsRefused: number
}

/** The figures as Prometheus' text. */
export function brokerMetrics(stats: BrokerStats): string {
  return exposition([
    counter('messages', 'Messages forwarded.', stats.messages),
    counter('bytes', 'Bytes forwarded.', stats.bytes),
    counter('text_lines', 'Messages of one part forwarded.', stats.textLines),
    counter('frames', 'Frames forwarded.', stats.frames),
    counter('invalid', 'Messages that were none.', stats.invalid),
    counter('dropped_for_slow', 'Times a subscriber was too slow to be given a message.', stats.droppedForSlow),
    gauge('publishers', 'Publishers connected.', stats.publishers),
    gauge('subscribers', 'Subscribers connected.', stats.subscribers),
    counter('refused_peers', 'Connections that failed their handshake.', stats.refusedPeers),
    gauge('subscriptions', 'Prefixes subscribed.', stats.subscriptions),
    counter('subscriptions_seen', 'Subscriptions and replay requests seen.', stats.subscriptionsSeen),
    counter('subscriptions_refused', 'Subscriptions not passed on.', stats.subscriptionsRefused),
  ])
}

function counter(name: string, help: string, value: Figure['value']): Figure {
  return { name: `zibrato_broker_${name}_total`, type: 'counter', help, value, label: 'level' }
}

function gauge(name: string, help: string, value: number): Figure {
  return { name: `zibrato_broker_${name}`, type: 'gauge', help, value }
}
