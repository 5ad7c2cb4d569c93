import { encodeBundle } from '../wire/bundle.ts'
import { Fifo } from './fifo.ts'

/** Some frames of one topic, as they go out. */
export interface Message {
  readonly bundle: Uint8Array
  readonly frames: number
  /** Bytes of the frames. */
  readonly bytes: number
  /** When the first of them came. */
  readonly queuedMs: number
  /** How often it went out. */
  attempts: number
  /** When it last did. */
  sentMs: number
  /** Whether onlookers have seen it. */
  shown: boolean
}

/** One topic's messages: those sent, then those waiting, then the frames that the next one is made of; oldest first. */
export interface Queue {
  readonly topic: string
  readonly shard: number
  subscribed: boolean
  everSubscribed: boolean
  readonly sent: Fifo<Message>
  readonly waiting: Fifo<Message>
  open: Uint8Array[]
  openBytes: number
  openedMs: number
}

export function emptyQueue(topic: string, shard: number, subscribed: boolean, everSubscribed: boolean): Queue {
  return {
    topic,
    shard,
    subscribed,
    everSubscribed,
    sent: new Fifo(),
    waiting: new Fifo(),
    open: [],
    openBytes: 0,
    openedMs: 0,
  }
}

export function isWaiting(queue: Queue): boolean {
  return queue.open.length > 0 || queue.waiting.length > 0
}

/** Makes a message of the frames gathered. */
export function closeMessage(queue: Queue): Message {
  const message = {
    bundle: encodeBundle(queue.open),
    frames: queue.open.length,
    bytes: queue.openBytes,
    queuedMs: queue.openedMs,
    attempts: 0,
    sentMs: 0,
    shown: false,
  }
  queue.open = []
  queue.openBytes = 0
  return message
}
