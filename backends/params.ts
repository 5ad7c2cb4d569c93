import { durationMs } from '../client/duration.ts'
import { UsageError } from '../client/errors.ts'

export interface Param {
  readonly name: string
  readonly value: string
  /** What messages may show of the value. */
  readonly shown: string
}

/**
 * The options behind the `?` of a backend's URL. A backend asks for all that it knows in its constructor; what nobody
 * asked for is then refused by name. Every getter answers undefined for an option that is not there and throws a
 * UsageError, naming the option, for a value that makes no sense or an option given twice.
 */
export class Params {
  readonly #owner: string
  readonly #given: readonly Param[]
  readonly #known = new Set<string>()

  constructor(owner: string, given: readonly Param[]) {
    this.#owner = owner
    this.#given = given
  }

  text(name: string): string | undefined {
    return this.#one(name)?.value
  }

  /** @throws UsageError when it is missing or empty */
  required(name: string): string {
    const value = this.text(name)
    if (value === undefined || value === '') {
      throw new UsageError(`${this.#owner}: the option ${name} is missing; add ?${name}=... to its URL`)
    }
    return value
  }

  /** `limits` are inclusive. */
  number(name: string, limits: { min?: number; max?: number; whole?: boolean } = {}): number | undefined {
    const param = this.#one(name)
    if (param === undefined) return undefined
    const { min = -Infinity, max = Infinity, whole = false } = limits
    const value = param.value.trim() === '' ? Number.NaN : Number(param.value)
    if (!Number.isFinite(value) || value < min || value > max || (whole && !Number.isInteger(value))) {
      const bounds = (min === -Infinity ? '' : ` from ${min}`) + (max === Infinity ? '' : ` to ${max}`)
      throw this.#wrong(param, `a ${whole ? 'whole ' : ''}number${bounds}`)
    }
    return value
  }

  /** Milliseconds; written as everywhere on the command line: `250ms`, `10s`, a bare number is seconds. */
  durationMs(name: string): number | undefined {
    const param = this.#one(name)
    if (param === undefined) return undefined
    try {
      return durationMs(param.value)
    } catch {
      throw this.#wrong(param, 'a duration such as 250ms, 10s or 1m')
    }
  }

  /** `yes`, `true`, `on`, `1` or nothing at all against `no`, `false`, `off`, `0`. */
  flag(name: string): boolean | undefined {
    const param = this.#one(name)
    if (param === undefined) return undefined
    if (/^(yes|true|on|1|)$/i.test(param.value)) return true
    if (/^(no|false|off|0)$/i.test(param.value)) return false
    throw this.#wrong(param, 'yes or no')
  }

  choice<const Choice extends string>(name: string, choices: readonly Choice[]): Choice | undefined {
    const param = this.#one(name)
    if (param === undefined) return undefined
    const choice = choices.find((each) => each === param.value)
    if (choice === undefined) throw this.#wrong(param, choices.join(' or '))
    return choice
  }

  /** Every value of an option that may be repeated. */
  list(name: string): string[] {
    this.#known.add(name)
    return this.#given.filter((param) => param.name === name).map((param) => param.value)
  }

  /** All options as they come; whoever reads them knows them. */
  *[Symbol.iterator](): Generator<[name: string, value: string]> {
    for (const { name, value } of this.#given) {
      this.#known.add(name)
      yield [name, value]
    }
  }

  /** @throws UsageError naming the options that nobody asked for, and those that were */
  refuseUnknown(): void {
    const unknown = [...new Set(this.#given.map((param) => param.name))].filter((name) => !this.#known.has(name))
    if (unknown.length === 0) return
    const known = [...this.#known, 'in-doubt', 'timeout', 'known-as'].join(', ')
    const options = unknown.map((name) => JSON.stringify(name)).join(', ')
    throw new UsageError(`${this.#owner}: unknown option ${options}; it takes ${known}`)
  }

  #one(name: string): Param | undefined {
    this.#known.add(name)
    const [first, second] = this.#given.filter((param) => param.name === name)
    if (second !== undefined) throw new UsageError(`${this.#owner}: the option ${name} is given twice; remove one`)
    return first
  }

  #wrong(param: Param, expected: string): UsageError {
    return new UsageError(`${this.#owner}: the option ${param.name}=${param.shown} must be ${expected}`)
  }
}
