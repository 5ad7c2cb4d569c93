import { describe, expect, it } from 'vitest'
import { frameTopic, replayTopic, shardTopic, topicShard } from '../../../client/wire/topic.ts'

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

  it.each(['', '#', '?', '#0', '#0a', '#20|', '#0A|', '#0g|', 'info', '0a|', '##0a|', ' #0a|', '#-1|', '#0a:'])(
    'see no shard in %j',
    (topic) => {
      expect(topicShard(topic)).toBe(-1)
    },
  )
})
