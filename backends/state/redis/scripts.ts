import { createHash } from 'node:crypto'

/** A Lua script, known to the server by its hash. */
export interface Script {
  readonly source: string
  readonly sha: string
}

export function script(source: string): Script {
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}

export const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** Which server this is, until it is restarted. */
const SERVER = `
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
`

const FENCE = `
local owner = redis.call('HMGET', KEYS[1], 'owner', 'epoch')
if owner[1] ~= ARGV[1] or owner[2] ~= ARGV[2] then return false end
`

// A server that is full refuses a script whose first write takes memory, and lets those behind it through. A script that is to
// go on all the same, since it is small or frees more than it takes, begins with setting a life span.

/**
 * Takes a shard whose lease is free or over. Key: owner. Arguments: id, lease (ms), life of keys (ms).
 * Answers the new epoch and which server this is, or false.
 */
export const ACQUIRE: Script = script(`${NOW}${SERVER}
local held = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'until')
if held[1] and held[1] ~= '' and held[1] ~= ARGV[1] and tonumber(held[3]) > now then return false end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local epoch = tonumber(held[2] or '0') + 1
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'epoch', epoch, 'until', now + ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { epoch, server }
`)

/** Renews a lease. Key: owner. Arguments: id, epoch, lease (ms), life of keys (ms). Answers 1, or false. */
export const RENEW: Script = script(`${FENCE}${NOW}
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('HSET', KEYS[1], 'until', now + ARGV[3])
return 1
`)

/**
 * Begins a new epoch of a shard that this worker has, or had when the server lost its data. What was sent in the epoch
 * before and may still be under way is refused from then on, and no entry of the log will stand before the last known.
 *
 * Keys: owner, log, committed, snapshots, windows. Arguments: id, the epoch known, lease (ms), life of keys (ms), the last
 * position known. Answers the epoch, which server this is, whether the owner was still known (1 or 0), the end committed, the
 * keys of snapshots and the ends of windows; or false when the shard is another's.
 */
export const FENCE_ANEW: Script = script(`${NOW}${SERVER}
local held = redis.call('HMGET', KEYS[1], 'owner', 'epoch')
if held[1] and held[1] ~= ARGV[1] then return false end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
local epoch = math.max(tonumber(held[2] or '0'), tonumber(ARGV[2])) + 1
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'epoch', epoch, 'until', now + ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if ARGV[5] ~= '0-0' then
  local raised = redis.pcall('XADD', KEYS[2], ARGV[5], 'b', '')
  if type(raised) == 'string' then redis.call('XDEL', KEYS[2], raised) end
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return {
  epoch,
  server,
  held[1] and 1 or 0,
  redis.call('HGET', KEYS[3], 'end') or '0',
  redis.call('LRANGE', KEYS[4], 0, -1),
  redis.call('HKEYS', KEYS[5]),
}
`)

/** Gives a shard up. Key: owner. Arguments: id, epoch, life of keys (ms). Answers 1, or false when it was lost already. */
export const GIVE_UP: Script = script(`${FENCE}
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('HSET', KEYS[1], 'owner', '', 'until', 0)
return 1
`)

/**
 * Appends to a shard's log, all or nothing. Keys: owner, log. Arguments: id, epoch, life of keys (ms), then the bundles.
 * Answers the positions, or false.
 */
export const APPEND: Script = script(`${FENCE}
local positions = {}
for index = 4, #ARGV do positions[#positions + 1] = redis.call('XADD', KEYS[2], '*', 'b', ARGV[index]) end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return positions
`)

/**
 * Does things to a shard, all or, when it is lost, none; also when the server is full. Keys: owner, then all that the
 * commands name. Arguments: id, epoch, life of keys (ms), then each command as the number of its parts and the parts.
 * Answers what each command answered, or false.
 */
export const FENCED: Script = script(`${FENCE}
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local answers = {}
local at = 4
while at <= #ARGV do
  local parts = tonumber(ARGV[at])
  answers[#answers + 1] = redis.call(unpack(ARGV, at + 1, at + parts))
  at = at + parts + 1
end
for index = 2, #KEYS do redis.call('PEXPIRE', KEYS[index], ARGV[3]) end
return answers
`)

/**
 * Writes a large value ahead of its commit, unless it is there. Keys: owner, its key. Arguments: id, epoch, life of keys (ms),
 * the value, its own life (ms). Answers 1, or false.
 */
export const WRITE_AHEAD: Script = script(`${FENCE}
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5], 'NX')
return 1
`)

/**
 * Commits a window. Keys: owner, committed, snapshots, windows, log, its snapshot, its window or the like of a key that is
 * not there, then the snapshots that a full one replaces. Arguments: id, epoch, life of keys (ms), end (ms), position or '',
 * first position to keep or '', 'full' or 'changes', meta of the window or ''.
 * Answers 'ok'; 'missing' when what was written ahead is not there; 'done' when it was committed before, with the keys of
 * the snapshots, the window's meta and the committed position as they stand; or false.
 */
export const COMMIT: Script = script(`${FENCE}${NOW}
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local last = tonumber(redis.call('HGET', KEYS[2], 'end') or '0')
if tonumber(ARGV[4]) <= last then
  return {
    'done',
    redis.call('LRANGE', KEYS[3], 0, -1),
    redis.call('HGET', KEYS[4], ARGV[4]),
    redis.call('HGET', KEYS[2], 'position'),
  }
end
for index = 6, ARGV[8] == '' and 6 or 7 do
  if redis.call('PEXPIRE', KEYS[index], ARGV[3]) == 0 then return {'missing'} end
end
if ARGV[7] == 'full' then
  redis.call('DEL', KEYS[3])
  for index = 8, #KEYS do redis.call('UNLINK', KEYS[index]) end
end
redis.call('RPUSH', KEYS[3], KEYS[6])
if ARGV[8] ~= '' then redis.call('HSET', KEYS[4], ARGV[4], ARGV[8]) end
redis.call('HSET', KEYS[2], 'end', ARGV[4], 'committed', now)
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[2], 'position', ARGV[5])
  redis.call('XTRIM', KEYS[5], 'MINID', ARGV[6])
end
for index = 2, 5 do redis.call('PEXPIRE', KEYS[index], ARGV[3]) end
return {'ok'}
`)
