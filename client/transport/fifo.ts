/** A queue that takes from its front, and puts back there, without moving the rest. */
export class Fifo<Item> {
  #items: Item[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  get first(): Item | undefined {
    return this.#items[this.#head]
  }

  push(item: Item): void {
    this.#items.push(item)
  }

  shift(): Item | undefined {
    if (this.length === 0) return undefined
    const item = this.#items[this.#head++]
    // moved seldom enough to cost next to nothing per item
    if (this.#head > 32 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }

  /** Takes out everything. */
  clear(): Item[] {
    const items = this.#items.slice(this.#head)
    this.#items = []
    this.#head = 0
    return items
  }

  /** Takes out one item, wherever it stands; false when it is not there. */
  remove(item: Item): boolean {
    const at = this.#items.lastIndexOf(item)
    if (at < this.#head) return false
    this.#items.splice(at, 1)
    return true
  }

  /** Puts items before all others, in their order. */
  prepend(items: readonly Item[]): void {
    this.#items = [...items, ...this.#items.slice(this.#head)]
    this.#head = 0
  }

  *[Symbol.iterator](): Generator<Item> {
    for (let index = this.#head; index < this.#items.length; index++) yield this.#items[index] as Item
  }
}
