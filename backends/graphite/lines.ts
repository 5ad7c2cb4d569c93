import { saturated } from '../../client/sketch/saturated.ts'

/** Lines of carbon's plain text protocol, all of one time: `path value time`. */
export class Lines {
  readonly #end: string
  #text = ''

  /** @param time seconds since the epoch, of which only whole ones can be kept */
  constructor(time: number) {
    this.#end = ` ${Math.round(time)}\n`
  }

  /** Characters since the last {@link Lines.take}. */
  get length(): number {
    return this.#text.length
  }

  add(path: string, value: number): void {
    // carbon throws a NaN away, and an infinity spoils whatever is drawn
    if (!Number.isNaN(value)) this.#text += `${path} ${saturated(value)}${this.#end}`
  }

  take(): string {
    const text = this.#text
    this.#text = ''
    return text
  }
}
