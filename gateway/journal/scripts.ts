import { createHash } from 'node:crypto'

/** A Lua script, known to the server by its hash. */
export interface JournalScript {
  readonly source: string
  readonly sha: string
}

function script(source: string): JournalScript {
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}

const TRIM = `
local function parts(id)
  local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(sequence)
end
local function isBefore(a, b)
  local aMs, aSequence = parts(a)
  local bMs, bSequence = parts(b)
  return aMs < bMs or (aMs == bMs and aSequence < bSequence)
end
local function trim()
  local least
  for _, position in ipairs(redis.call('HVALS', KEYS[2])) do
    if not least or isBefore(position, least) then least = position end
  end
  -- with nobody left who reads, whoever comes next does
  if not least then return 0 end
  local ms, sequence = parts(least)
  return redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f-%.0f', ms, sequence + 1))
end
`

/**
 * Reads shards from where a reader is. Keys: streams. Arguments: bytes to read at the most (but for the last entries), entries
 * read at once, then for each stream the last id that the reader has.
 *
 * Answers the time (ms), then for each stream 1 when it was read to its end, else 0, and a list: id, bundle, id, bundle ...
 * What is not in a list whose stream was read to its end is not older than that time.
 */
export const READ: JournalScript = script(`
local time = redis.call('TIME')
local answer = { string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)) }
local left = tonumber(ARGV[1])
for index, key in ipairs(KEYS) do
  local from, found, isEnd = ARGV[index + 2], {}, 0
  while left > 0 and isEnd == 0 do
    local chunk = redis.call('XRANGE', key, '(' .. from, '+', 'COUNT', ARGV[2])
    for _, entry in ipairs(chunk) do
      from = entry[1]
      found[#found + 1] = from
      found[#found + 1] = entry[2][2]
      left = left - #entry[2][2]
    end
    if #chunk < tonumber(ARGV[2]) then isEnd = 1 end
  end
  answer[#answer + 1] = isEnd
  answer[#answer + 1] = found
end
return answer
`)

/**
 * Says that a group needs nothing up to a position, and trims what no group needs; one that is not known yet is from then on, so
 * that what is behind the position is kept for it. Keys: stream, groups. Arguments: group, position. Answers how many entries
 * were trimmed.
 */
export const RELEASE: JournalScript = script(`${TRIM}
local held = redis.call('HGET', KEYS[2], ARGV[1])
if not held or isBefore(held, ARGV[2]) then redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) end
return trim()
`)

/**
 * Has a group read the journal no more, and trims what the others do not need. Keys: stream, groups. Argument: group.
 * Answers 1 when it was one of the journal's, else 0.
 */
export const FORGET: JournalScript = script(`${TRIM}
local was = redis.call('HDEL', KEYS[2], ARGV[1])
trim()
return was
`)
