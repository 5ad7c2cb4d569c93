/**
 * Series by type and key bytes: an open-addressing table over one arena of key bytes, so that a million series are a few
 * arrays and no objects. A series keeps its slot (0, 1, 2, ...) until the table is rebuilt.
 */
export class SeriesTable {
  /** Series held; slots are `0 .. size - 1`. */
  size = 0
  #places: Int32Array
  #mask: number
  #hashes = new Uint32Array(16)
  #types = new Uint8Array(16)
  #offsets = new Uint32Array(17)
  #arena = new Uint8Array(512)

  constructor() {
    this.#places = new Int32Array(32)
    this.#mask = 31
  }

  type(slot: number): number {
    return this.#types[slot] as number
  }

  hash(slot: number): number {
    return this.#hashes[slot] as number
  }

  /** The key's bytes: a view, valid until the next insert. */
  key(slot: number): Uint8Array {
    return this.#arena.subarray(this.#offsets[slot], this.#offsets[slot + 1])
  }

  /** Bytes that the table itself takes. */
  get memory(): number {
    return (
      this.#arena.length +
      this.#hashes.length * 4 +
      this.#types.length +
      this.#offsets.length * 4 +
      this.#places.length * 4
    )
  }

  /** The slot of a series, or -1. */
  find(type: number, hash: number, bytes: Uint8Array, start: number, end: number): number {
    const places = this.#places
    const mask = this.#mask
    // a shard's hashes share their low five bits
    let place = (hash >>> 5) & mask
    for (;;) {
      const slot = (places[place] as number) - 1
      if (slot < 0) return -1
      if (this.#hashes[slot] === hash && this.#types[slot] === type && this.#holds(slot, bytes, start, end)) return slot
      place = (place + 1) & mask
    }
  }

  /** Adds a series that {@link find} did not find; answers its slot. */
  insert(type: number, hash: number, bytes: Uint8Array, start: number, end: number): number {
    const slot = this.size++
    if (slot === this.#types.length) this.#growColumns()
    const from = this.#offsets[slot] as number
    const to = from + end - start
    if (to > this.#arena.length) this.#growArena(to)
    // keys are short: a loop beats the call into `set`
    for (let index = start, at = from; index < end; index++) this.#arena[at++] = bytes[index] as number
    this.#hashes[slot] = hash
    this.#types[slot] = type
    this.#offsets[slot + 1] = to
    if (this.size * 3 > this.#places.length * 2) this.#growPlaces()
    else this.#place(slot)
    return slot
  }

  #holds(slot: number, bytes: Uint8Array, start: number, end: number): boolean {
    const arena = this.#arena
    let at = this.#offsets[slot] as number
    if ((this.#offsets[slot + 1] as number) - at !== end - start) return false
    for (let index = start; index < end; index++) if (arena[at++] !== bytes[index]) return false
    return true
  }

  #place(slot: number): void {
    let place = ((this.#hashes[slot] as number) >>> 5) & this.#mask
    while (this.#places[place] !== 0) place = (place + 1) & this.#mask
    this.#places[place] = slot + 1
  }

  #growPlaces(): void {
    this.#places = new Int32Array(this.#places.length * 2)
    this.#mask = this.#places.length - 1
    for (let slot = 0; slot < this.size; slot++) this.#place(slot)
  }

  #growColumns(): void {
    // by half: a table of a million series should not hold room for another million
    const capacity = Math.ceil(this.#types.length * 1.5)
    const hashes = new Uint32Array(capacity)
    hashes.set(this.#hashes)
    this.#hashes = hashes
    const types = new Uint8Array(capacity)
    types.set(this.#types)
    this.#types = types
    const offsets = new Uint32Array(capacity + 1)
    offsets.set(this.#offsets)
    this.#offsets = offsets
  }

  #growArena(least: number): void {
    const arena = new Uint8Array(Math.max(least, Math.ceil(this.#arena.length * 1.5)))
    arena.set(this.#arena.subarray(0, this.#offsets[this.size - 1]))
    this.#arena = arena
  }
}
