import { SHARDS } from './series.ts'

const PREFIXES = Array.from({ length: SHARDS }, (_, shard) => `#${shard.toString(16).padStart(2, '0')}|`)

/** `#0a|`: what one shard's owner subscribes to. */
export function shardTopic(shard: number): string {
  return PREFIXES[shard] as string
}

/** `#0a|info|`: the first part of a frame message. */
export function frameTopic(shard: number, level: string): string {
  return `${PREFIXES[shard] as string}${level}|`
}

/** The shard of a frame topic or subscription, or -1. */
export function topicShard(topic: string): number {
  return /^[#?][01][0-9a-f]\|/.test(topic) ? Number.parseInt(topic.slice(1, 3), 16) : -1
}

/** `?0a|<random>`: subscribing to it asks every publisher to send its ring for that shard once more. */
export function replayTopic(shard: number, random: string): string {
  return `?${shard.toString(16).padStart(2, '0')}|${random}`
}

/**
 * Both halves of all shards: what an onlooker such as `zibrato tail` subscribes to, and nobody else. Publishers show it
 * copies, and go on waiting for somebody who takes the frames.
 */
export const ONLOOKER_TOPICS: readonly string[] = ['#0', '#1']

/** `#0a`: what a worker subscribes to that is to own a shard soon. Until it does it sees copies, as an onlooker. */
export function watchTopic(shard: number): string {
  return shardTopic(shard).slice(0, -1)
}

/** Whether a subscription takes nothing: of half of the shards, or of one without what follows its number. */
export function isOnlookers(prefix: string): boolean {
  return /^#[01][0-9a-f]?$/.test(prefix)
}

/**
 * What a broker itself subscribes to when it starts, so that every new connection of a publisher begins with it: it sorts
 * before the subscriptions of others, which follow anew.
 */
export const BROKER_TOPIC = '!zibrato|1|'

/** What a broker tells its publishers again and again, so that they see it live; no subscription, so nothing piles up. */
export const BEAT = '!beat'

/** How often it does, ms. */
export const BEAT_MS = 2_000

/** `!zibrato|1|ping|<id>`: what a publisher sends to learn that the broker has all that it sent before. */
export const PING_PREFIX: string = `${BROKER_TOPIC}ping|`

/** `!pong|<id>,<id>,...`: what the broker then tells its publishers. */
export const PONG_PREFIX = '!pong|'

/**
 * `!zibrato|1|journal|<16 hex>`: what a broker that writes a journal subscribes to besides, so that whoever writes the same one
 * knows. The digits tell one journal from another.
 */
export const JOURNAL_PREFIX: string = `${BROKER_TOPIC}journal|`
