import type { TransportStats } from '../../client/transport/transport.ts'
import { type Figure, exposition } from '../figures.ts'
import type { JournalStats } from '../journal/journal.ts'
import { journalFigures } from '../journal/figures.ts'
import type { JournalingStats } from './journaling.ts'

/** Figures since the start. */
export interface BrokerStats {
  /** Forwarded, and their bytes. */
  readonly messages: number
  readonly bytes: number
  /** Of those, messages of one part. */
  readonly textLines: number
  /** Of those, lines that say nothing the broker could count, by what is wrong with them. */
  readonly badLines: Readonly<Record<string, number>>
  /** What became of the frames that the broker made of the others; they are in none of the other figures. */
  readonly lineFrames: TransportStats
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
  /** Of a broker that writes a journal. */
  readonly journal?: JournalingStats & { readonly writer: JournalStats }
}

/** Of a broker that has not started. */
export const NO_FRAMES: TransportStats = { sent: 0, replayed: 0, waiting: 0, waitingBytes: 0, unknown: 0, dropped: {} }

/** The figures as Prometheus' text. */
export function brokerMetrics(stats: BrokerStats): string {
  const { lineFrames, journal } = stats
  return exposition([
    counter('messages', 'Messages forwarded.', stats.messages),
    counter('bytes', 'Bytes forwarded.', stats.bytes),
    counter('text_lines', 'Messages of one part forwarded.', stats.textLines),
    counter('bad_lines', 'Messages of one part that could not be counted.', stats.badLines, 'reason'),
    counter('line_frames_sent', 'Frames made of text lines and sent.', lineFrames.sent),
    counter('line_frames_replayed', 'Frames made of text lines and sent again.', lineFrames.replayed),
    gauge('line_frames_waiting', 'Frames made of text lines that nobody took yet.', lineFrames.waiting),
    counter('line_frames_dropped', 'Frames made of text lines and given up.', lineFrames.dropped, 'reason'),
    counter('frames', 'Frames forwarded.', stats.frames),
    counter('invalid', 'Messages that were none.', stats.invalid),
    counter('dropped_for_slow', 'Times a subscriber was too slow to be given a message.', stats.droppedForSlow),
    gauge('publishers', 'Publishers connected.', stats.publishers),
    gauge('subscribers', 'Subscribers connected.', stats.subscribers),
    counter('refused_peers', 'Connections that failed their handshake.', stats.refusedPeers),
    gauge('subscriptions', 'Prefixes subscribed.', stats.subscriptions),
    counter('subscriptions_seen', 'Subscriptions and replay requests seen.', stats.subscriptionsSeen),
    counter('subscriptions_refused', 'Subscriptions not passed on.', stats.subscriptionsRefused),
    ...(journal === undefined
      ? []
      : [
          counter('journaled_before', 'Messages that were in the journal when they came.', journal.marked),
          counter('cleared_marks', "Messages with a mark that is not the journal's.", journal.clearedMarks),
          counter('broken_bundles', 'Bundles whose end could not be read, and was not journaled.', journal.broken),
          gauge('held_bytes', 'Bytes received and not in the journal yet.', journal.heldBytes),
          ...journalFigures('broker', journal.writer),
        ]),
  ])
}

function counter(name: string, help: string, value: Figure['value'], label = 'level'): Figure {
  return { name: `zibrato_broker_${name}_total`, type: 'counter', help, value, label }
}

function gauge(name: string, help: string, value: number): Figure {
  return { name: `zibrato_broker_${name}`, type: 'gauge', help, value }
}
