const HASH = 0x23
const QUESTION = 0x3f
const BAR = 0x7c
/** Levels told apart in the figures; more are counted together as `(other)`. */
const LEVELS = 256
/** A frame of one counter with the shortest of names. */
const FRAME_BYTES = 36

interface LevelFigures {
  readonly name: string
  readonly bytes: Uint8Array
  frames: number
}

/** What passes a broker, and whether it may. */
export class Traffic {
  messages = 0
  bytes = 0
  textLines = 0
  invalid = 0
  readonly #levels = new Map<number, LevelFigures>()
  #other = 0

  /**
   * Counts a message; false when it is none that a broker forwards: neither `[#<shard>|<level>|, bundle]` nor one part
   * that a text subscriber could want.
   */
  count(parts: readonly Uint8Array[]): boolean {
    const topic = parts[0] as Uint8Array
    const bundle = parts[1]
    if (parts.length === 2 && bundle !== undefined) {
      if (!this.#countFrames(topic, bundle)) return this.#refuse()
      this.bytes += topic.length + bundle.length
    } else {
      // a lone part that starts like a topic would reach those who expect a bundle behind it
      if (parts.length !== 1 || topic.length === 0 || topic[0] === HASH || topic[0] === QUESTION) return this.#refuse()
      this.textLines++
      this.bytes += topic.length
    }
    this.messages++
    return true
  }

  /** Frames by level. */
  frames(): Record<string, number> {
    const frames = Object.create(null) as Record<string, number>
    for (const level of this.#levels.values()) frames[level.name] = (frames[level.name] ?? 0) + level.frames
    if (this.#other > 0) frames['(other)'] = this.#other
    return frames
  }

  #refuse(): false {
    this.invalid++
    return false
  }

  #countFrames(topic: Uint8Array, bundle: Uint8Array): boolean {
    const last = topic.length - 1
    // "#0a|", at least one byte of level, "|"
    if (last < 5 || last > 68 || topic[0] !== HASH || topic[3] !== BAR || topic[last] !== BAR) return false
    if ((topic[1] !== 0x30 && topic[1] !== 0x31) || !isHex(topic[2] as number)) return false
    if (topic[4] === HASH || topic[4] === QUESTION) return false
    let hash = 0x811c9dc5
    for (let index = 4; index < last; index++) {
      const byte = topic[index] as number
      if (byte === BAR) return false
      hash = Math.imul(hash ^ byte, 0x01000193)
    }
    const frames = countFrames(bundle)
    const level = this.#levels.get(hash) ?? this.#newLevel(hash, topic, last)
    if (level !== undefined && isLevel(level.bytes, topic, last)) level.frames += frames
    else this.#other += frames
    return true
  }

  #newLevel(hash: number, topic: Uint8Array, last: number): LevelFigures | undefined {
    if (this.#levels.size >= LEVELS) return undefined
    const bytes = topic.slice(4, last)
    const level = { name: new TextDecoder().decode(bytes), bytes, frames: 0 }
    this.#levels.set(hash, level)
    return level
  }
}

function isHex(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66)
}

function isLevel(level: Uint8Array, topic: Uint8Array, last: number): boolean {
  if (level.length !== last - 4) return false
  for (let index = 0; index < level.length; index++) if (level[index] !== topic[index + 4]) return false
  return true
}

/**
 * The frames a bundle holds, by their lengths alone; whoever merges them looks inside. Ends where a length is none, so that
 * garbage costs no more than frames do.
 */
function countFrames(bundle: Uint8Array): number {
  let count = 0
  let offset = 0
  while (offset < bundle.length) {
    let length = 0
    let scale = 1
    let byte = 0x80
    while (byte >= 0x80 && offset < bundle.length && scale < 0x1000000000) {
      byte = bundle[offset++] as number
      length += (byte & 0x7f) * scale
      scale *= 0x80
    }
    offset += length
    if (byte >= 0x80 || length < FRAME_BYTES || offset > bundle.length) break
    count++
  }
  return count
}
