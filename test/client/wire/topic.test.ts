import { describe, expect, it } from 'vitest'
import {
  ONLOOKER_TOPICS,
  frameTopic,
  isOnlookers,
  replayTopic,
  shardTopic,
  topicShard,
  watchTopic,
} from '../../../client/wire/topic.ts'

describe('topics', () => {
  it('name a shard in two hex digits, so that subscribing to one never matches another', () => {
    expect(shardTopic(10)).toBe('#0a|')
    expect(frameTopic(31, 'info')).toBe('#1f|info|')
    expect(replayTopic(0, 'x7')).toBe('?00|x7')
    for (let shard = 0; shard < 32; shard++) {
      expect(frameTopic(shard, 'info').startsWith(shardTopic(shard))).toBe(true)
      expect(topicShard(frameTopic(shard, 'ü|'))).toBe(shard)
      expect(topicShard(shardTopic(shard))).toBe(shard)
      expect(topicShard(replayTopic(shard, ''))).toBe(shard)
    }
  })

  it('are watched by less than takes them', () => {
    expect(watchTopic(10)).toBe('#0a')
    for (let shard = 0; shard < 32; shard++) {
      const topic = frameTopic(shard, 'info')
      expect([...ONLOOKER_TOPICS, watchTopic(shard)].filter((prefix) => topic.startsWith(prefix))).toHaveLength(2)
      expect([watchTopic(shard), shardTopic(shard), topic].map(isOnlookers)).toEqual([true, false, false])
    }
    expect(ONLOOKER_TOPICS.every(isOnlookers)).toBe(true)
    expect(['', '#', '#2', '#20', '#0A', '#0a|', '#0ab', '?0a', 'info'].filter(isOnlookers)).toEqual([])
  })

  it.each(['', '#', '?', '#0', '#0a', '#20|', '#0A|', '#0g|', 'info', '0a|', '##0a|', ' #0a|', '#-1|', '#0a:'])(
    'see no shard in %j',
    (topic) => {
      expect(topicShard(topic)).toBe(-1)
    },
  )
})
