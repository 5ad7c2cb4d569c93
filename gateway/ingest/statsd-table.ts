/** Integers of one place: hash, and record or 0. */
const PLACE = 2
/** Integers that a record starts with: 8 * slot + type, the spare one, 65,536 * tags' length + name's, hash. */
const HEAD = 4
const SPARE = 1
const LENGTHS = 2
const HASH = 3
const LEAST_PLACES = 1024
/** Doubles of the arena at first. */
const LEAST_ARENA = 8192

/** What tells one series from another in a line, as the bytes stand there. */
export interface LineIdentity {
  /** Where the name starts and ends. */
  readonly name: number
  readonly nameEnd: number
  /** Where the tags start, behind the `#`, and end; the same without any. Neither is longer than 65,535 bytes. */
  readonly tags: number
  readonly tagsEnd: number
  /** The type's code in frames. */
  readonly type: number
  /** {@link hashWords} of these, mixed; it only finds a candidate, the bytes decide. */
  readonly hash: number
}

/**
 * Hashes bytes four at a time: rotate, xor and multiply, as FxHash of Firefox and rustc does. `view` must have three bytes
 * to spare. Mix the result before use.
 */
export function hashWords(view: DataView, start: number, end: number, seed: number): number {
  let hash = seed
  let at = start
  for (; at + 4 <= end; at += 4) hash = hashStep(hash, view.getInt32(at, true))
  return at === end ? hash : hashStep(hash, view.getInt32(at, true) & firstBytes(end - at))
}

/** What {@link hashWords} does with each word; of the last, bytes that do not belong to it are 0. */
export function hashStep(hash: number, word: number): number {
  return Math.imul(((hash << 5) | (hash >>> 27)) ^ word, 0x9e3779b1)
}

/** Masks the first 1 to 3 bytes of a word that was read little-endian. */
function firstBytes(count: number): number {
  return (1 << (count * 8)) - 1
}

function wordsOf(bytes: number): number {
  return (bytes + 3) >> 2
}

function lengthsOf({ name, nameEnd, tags, tagsEnd }: LineIdentity): number {
  return ((tagsEnd - tags) << 16) | (nameEnd - name)
}

/**
 * Records by the bytes of name and tags and by type: an open-addressing table over one arena, in which a record's numbers
 * and its bytes are neighbours, so that finding one and adding to it touch little memory. Bytes are compared, as they are
 * hashed, four at a time; so what is looked for must lie in a view with three bytes to spare.
 *
 * ```text
 *  place: hash, record --> record: slot and type, spare, lengths, hash | doubles ... | name | tags
 * ```
 */
export class LineTable {
  /** Records; each has a slot, `0 .. size - 1`. */
  size = 0
  /** The arena as doubles, and as the integers among which a record's number is its place. Replaced as they grow. */
  doubles: Float64Array = new Float64Array(LEAST_ARENA)
  ints: Int32Array = new Int32Array(this.doubles.buffer)
  readonly #room: Uint8Array
  #places = new Int32Array(LEAST_PLACES * PLACE)
  #mask: number = LEAST_PLACES - 1
  // by slot
  #records: number[] = []
  // 0 is no record
  #end: number = HEAD

  /** @param room how many doubles a record of each type has */
  constructor(room: readonly number[]) {
    this.#room = Uint8Array.from(room)
  }

  /** Bytes of records, names and tags. */
  get bytes(): number {
    return this.#end * 4
  }

  /** The record of a slot. */
  record(slot: number): number {
    return this.#records[slot] as number
  }

  slot(record: number): number {
    return (this.ints[record] as number) >> 3
  }

  type(record: number): number {
    return (this.ints[record] as number) & 7
  }

  /** Where a record's doubles start. */
  doublesOf(record: number): number {
    return (record + HEAD) >> 1
  }

  /** Where among the integers a record's spare one is, for any use. */
  spareOf(record: number): number {
    return record + SPARE
  }

  /** A record, or 0. */
  find(view: DataView, line: LineIdentity): number {
    const { name, nameEnd, tags, tagsEnd, type, hash } = line
    const ints = this.ints
    const places = this.#places
    const mask = this.#mask
    const lengths = lengthsOf(line)
    for (let place = hash & mask; ; place = (place + 1) & mask) {
      const record = places[place * PLACE + 1] as number
      if (record === 0) return 0
      if (places[place * PLACE] !== hash || ints[record + LENGTHS] !== lengths) continue
      if (((ints[record] as number) & 7) !== type) continue
      const at = record + HEAD + (this.#room[type] as number) * 2
      if (!holds(ints, at, view, name, nameEnd)) continue
      if (tags === tagsEnd || holds(ints, at + wordsOf(nameEnd - name), view, tags, tagsEnd)) return record
    }
  }

  /** Adds a record that {@link find} did not find; its numbers are 0. */
  insert(view: DataView, line: LineIdentity): number {
    const { name, nameEnd, tags, tagsEnd, type, hash } = line
    const lengths = lengthsOf(line)
    const record = this.#claim(this.#sizeOf(type, lengths))
    this.ints[record + LENGTHS] = lengths
    this.ints[record + HASH] = hash
    const at = record + HEAD + (this.#room[type] as number) * 2
    copy(this.ints, at, view, name, nameEnd)
    copy(this.ints, at + wordsOf(nameEnd - name), view, tags, tagsEnd)
    this.#enter(record, type)
    return record
  }

  /** Leaves only the records that `keep` names, by slot; answers their former slots by their new ones. */
  prune(keep: (slot: number) => boolean): number[] {
    const ints = this.ints
    const kept: number[] = []
    const records = this.#records
    this.clear()
    for (const [slot, record] of records.entries()) {
      if (!keep(slot)) continue
      const type = (ints[record] as number) & 7
      const size = this.#sizeOf(type, ints[record + LENGTHS] as number)
      const moved = this.#claim(size)
      this.ints.set(ints.subarray(record, record + size), moved)
      this.#enter(moved, type)
      kept.push(slot)
    }
    return kept
  }

  clear(): void {
    this.size = 0
    this.doubles = new Float64Array(LEAST_ARENA)
    this.ints = new Int32Array(this.doubles.buffer)
    this.#places = new Int32Array(LEAST_PLACES * PLACE)
    this.#mask = LEAST_PLACES - 1
    this.#records = []
    this.#end = HEAD
  }

  /** Integers that a record takes: an even number, for the doubles of the next. */
  #sizeOf(type: number, lengths: number): number {
    const words = wordsOf(lengths & 0xffff) + wordsOf(lengths >>> 16)
    return HEAD + (this.#room[type] as number) * 2 + words + (words & 1)
  }

  #claim(size: number): number {
    const record = this.#end
    this.#end += size
    if (this.#end <= this.ints.length) return record
    const doubles = new Float64Array(Math.max(this.#end, this.ints.length * 2) >> 1)
    const ints = new Int32Array(doubles.buffer)
    // as integers: names must not pass for doubles, of which some do not survive
    ints.set(this.ints)
    this.doubles = doubles
    this.ints = ints
    return record
  }

  #enter(record: number, type: number): void {
    this.ints[record] = (this.size << 3) | type
    this.#records[this.size++] = record
    // half full at the most, so that a search ends soon
    if (this.size * 2 <= this.#mask) {
      this.#place(record)
      return
    }
    this.#places = new Int32Array(this.#places.length * 2)
    this.#mask = this.#mask * 2 + 1
    for (const known of this.#records) this.#place(known)
  }

  #place(record: number): void {
    const hash = this.ints[record + HASH] as number
    let place = hash & this.#mask
    while (this.#places[place * PLACE + 1] !== 0) place = (place + 1) & this.#mask
    this.#places[place * PLACE] = hash
    this.#places[place * PLACE + 1] = record
  }
}

function holds(ints: Int32Array, word: number, view: DataView, start: number, end: number): boolean {
  let index = word
  let at = start
  for (; at + 4 <= end; at += 4) if (ints[index++] !== view.getInt32(at, true)) return false
  return at === end || ints[index] === (view.getInt32(at, true) & firstBytes(end - at))
}

function copy(ints: Int32Array, word: number, view: DataView, start: number, end: number): void {
  let index = word
  let at = start
  for (; at + 4 <= end; at += 4) ints[index++] = view.getInt32(at, true)
  if (at < end) ints[index] = view.getInt32(at, true) & firstBytes(end - at)
}
