import { NOW, type Script, script } from './scripts.ts'

// A server that is full refuses a script whose first write takes memory, and lets those behind it through: each begins with
// setting a life span, since a worker must be able to say that it lives.
const REFRESH = `
redis.call('PEXPIRE', KEYS[1], ARGV[2] * 10)
redis.call('PEXPIRE', KEYS[2], ARGV[2] * 10)
`

const BURY = `
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
for _, id in ipairs(gone) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end
`

const LIVE = `
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
${REFRESH}
`

/**
 * Has a worker be one of its group, when its settings agree with those of others that live. Keys: workers, infos, settings.
 * Arguments: id, lease (ms), info or '' to only look, the settings that it agrees with, its own, both together, life of
 * keys (ms).
 * Answers the others' settings, and does nothing, unless these are those that it agrees with; else false.
 */
export const JOIN: Script = script(`${NOW}${REFRESH}${BURY}
local others = redis.call('ZCARD', KEYS[1])
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then others = others - 1 end
local held = redis.call('GET', KEYS[3])
if others > 0 and held and held ~= ARGV[4] then return held end
if ARGV[3] == '' then return false end
redis.call('SET', KEYS[3], (others > 0 and held) and ARGV[6] or ARGV[5], 'PX', ARGV[7])
${LIVE}
return false
`)

/**
 * Says that a worker lives, if it was known to. Keys: workers, infos. Arguments: id, lease (ms), info, or '' for one that goes.
 * Answers the time (ms), whether this worker was known (1 or 0), and the ids of all that live.
 */
export const BEAT: Script = script(`${NOW}${REFRESH}
local known = redis.call('ZSCORE', KEYS[1], ARGV[1]) and 1 or 0
if ARGV[3] ~= '' and known == 1 then
${LIVE}
end
${BURY}
local answer = redis.call('ZRANGE', KEYS[1], 0, -1)
table.insert(answer, 1, tostring(known))
table.insert(answer, 1, tostring(now))
return answer
`)

/** Takes a worker out. Keys: workers, infos. Arguments: id, lease (ms). Answers the ids of all others that live. */
export const LEAVE: Script = script(`${NOW}${REFRESH}${BURY}
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return redis.call('ZRANGE', KEYS[1], 0, -1)
`)
