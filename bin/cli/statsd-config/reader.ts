import { UsageError } from '../../../client/errors.ts'
import type { Constant, Constants } from './constants.ts'

/** A setting of which nothing becomes, or not all, and why. */
export interface Note {
  /** `graphite.prefixCounter` */
  readonly setting: string
  readonly line: number
  readonly column: number
  readonly reason: string
}

/**
 * Takes settings out of an object, checked; what nobody asked for is left over. As in statsd, `undefined`, `null` and, of
 * what must not be empty, `0` and `''` mean that a setting is not there.
 *
 * Every getter throws a UsageError with the place and name of a value that makes no sense.
 */
export class SettingsReader {
  readonly #file: string
  readonly #constants: Constants
  readonly #path: string
  readonly #known = new Set<string>()
  readonly #notes: Note[]

  /** @param path of the object, with a dot behind it; empty for the whole file */
  constructor(file: string, constants: Constants, path = '', notes: Note[] = []) {
    this.#file = file
    this.#constants = constants
    this.#path = path
    this.#notes = notes
  }

  /** All notes so far, those of objects inside too. */
  get notes(): readonly Note[] {
    return this.#notes
  }

  number(
    name: string,
    limits: { readonly min: number; readonly max: number; readonly whole?: boolean },
  ): number | undefined {
    const constant = this.take(name)
    return constant === undefined ? undefined : this.#number(name, constant, limits)
  }

  numbers(name: string, limits: { readonly min: number; readonly max: number }): number[] | undefined {
    return this.#list(name)?.map((constant) => this.#number(name, constant, limits))
  }

  text(name: string): string | undefined {
    const constant = this.take(name)
    return constant === undefined ? undefined : this.#text(name, constant)
  }

  texts(name: string): string[] | undefined {
    return this.#list(name)?.map((constant) => this.#text(name, constant))
  }

  flag(name: string): boolean | undefined {
    const constant = this.take(name)
    if (constant === undefined) return undefined
    const { value } = constant
    if (typeof value === 'boolean') return value
    if (value === 0 || value === 1) return value === 1
    throw this.wrong(name, constant, 'must be true or false')
  }

  object(name: string): SettingsReader | undefined {
    const constant = this.take(name)
    return constant === undefined ? undefined : this.#object(name, constant)
  }

  objects(name: string): SettingsReader[] | undefined {
    return this.#list(name)?.map((constant, index) => this.#object(`${name}.${index}`, constant))
  }

  /** A setting as it stands there, known from now on. */
  take(name: string): Constant | undefined {
    this.#known.add(name)
    const constant = this.#constants.get(name)
    return constant?.value === undefined || constant.value === null ? undefined : constant
  }

  /** Notes that a setting, where it is there, is not honoured. */
  note(name: string, reason: string): void {
    const constant = this.take(name)
    if (constant === undefined) return
    const { line, column } = constant
    this.#notes.push({ setting: this.#path + name, line, column, reason })
  }

  /** Notes what nobody asked for. */
  noteUnknown(reason: string): void {
    for (const name of this.#constants.keys()) if (!this.#known.has(name)) this.note(name, reason)
  }

  wrong(name: string, { line, column }: Constant, problem: string): UsageError {
    return new UsageError(`${this.#file}:${line}:${column}: ${this.#path}${name} ${problem}`)
  }

  #number(
    name: string,
    constant: Constant,
    { min, max, whole = false }: { readonly min: number; readonly max: number; readonly whole?: boolean },
  ): number {
    const { value } = constant
    const isText = typeof value === 'string' && value.trim() !== ''
    const number = typeof value === 'number' || isText ? Number(value) : Number.NaN
    if (number >= min && number <= max && (!whole || Number.isInteger(number))) return number
    throw this.wrong(name, constant, `must be a ${whole ? 'whole ' : ''}number from ${min} to ${max}`)
  }

  #text(name: string, constant: Constant): string {
    const { value } = constant
    if (typeof value === 'string' || typeof value === 'number') return String(value)
    throw this.wrong(name, constant, 'must be a text')
  }

  #list(name: string): readonly Constant[] | undefined {
    const constant = this.take(name)
    if (constant === undefined) return undefined
    // statsd takes one for a list of one
    return isList(constant.value) ? constant.value : [constant]
  }

  #object(name: string, constant: Constant): SettingsReader {
    const { value } = constant
    if (value instanceof Map) return new SettingsReader(this.#file, value, `${this.#path}${name}.`, this.#notes)
    throw this.wrong(name, constant, 'must be an object: { ... }')
  }
}

function isList(value: Constant['value']): value is readonly Constant[] {
  return Array.isArray(value)
}
