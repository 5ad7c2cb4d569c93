import type { Instrument } from '../instruments/instrument.ts'

/** What makes the instruments of a class, given its name: one function for each attribute. */
export type Attributes = Readonly<Record<string, (className: string) => Instrument>>

/** The instruments, by attribute. */
export type Metered<Of extends Attributes> = { readonly [Attribute in keyof Of]: ReturnType<Of[Attribute]> }

type AnyClass = abstract new (...args: never[]) => object

/** A class whose instances and subclasses, and it itself, have instruments. */
export type MeteredClass<Of extends Attributes, Base extends AnyClass> = (abstract new (
  ...args: ConstructorParameters<Base>
) => InstanceType<Base> & Metered<Of>) &
  Omit<Base, 'prototype'> &
  Metered<Of>

/**
 * A class to extend: each subclass has instruments of its own, named after it, also a subclass that is made while the program
 * runs. The counterpart of Tapes' `metered_meta`.
 *
 * ```ts
 * class Handler extends metered({ latency: (name) => registry.timer(`my.http.${name}.latency`) }, Base) {}
 * class Pay extends Handler {
 *   get() { return this.latency.time(() => ...) }   // my.http.Pay.latency, as is Pay.latency
 * }
 * ```
 *
 * They are made when first looked at. A class is called by its name, or by what its own `static meteredName` says (minifiers
 * change names); one without a name counts as the nearest of its ancestors that has one. Classes of one name share
 * instruments.
 */
export function metered<Of extends Attributes, Base extends AnyClass = typeof Object>(
  attributes: Of,
  base?: Base,
): MeteredClass<Of, Base> {
  const Class = base === undefined ? class {} : class extends (base as unknown as new (...args: never[]) => object) {}
  // what extends it without a name is called as its own ancestors are
  Object.defineProperty(Class, 'name', { value: '' })
  define(Class, attributes)
  return Class as unknown as MeteredClass<Of, Base>
}

/**
 * {@link metered} as a decorator, of TC39's kind and of TypeScript's legacy one, for a class that declares the attributes:
 *
 * ```ts
 * @meteredBy({ latency: (name) => registry.timer(`my.http.${name}.latency`) })
 * class Handler { declare readonly latency: Timer }
 * ```
 */
export function meteredBy<Of extends Attributes>(
  attributes: Of,
): (target: abstract new (...args: never[]) => Metered<Of>, context?: ClassDecoratorContext) => void {
  return (target) => define(target, attributes)
}

function define(Class: AnyClass, attributes: Attributes): void {
  const made = new WeakMap<object, Map<string, Instrument>>()
  const find = (of: AnyClass, attribute: string): Instrument => {
    let instruments = made.get(of)
    if (instruments === undefined) made.set(of, (instruments = new Map()))
    let instrument = instruments.get(attribute)
    if (instrument === undefined) {
      instrument = (attributes[attribute] as Attributes[string])(nameOf(of))
      instruments.set(attribute, instrument)
    }
    return instrument
  }
  for (const attribute of Object.keys(attributes)) {
    Object.defineProperty(Class.prototype, attribute, {
      configurable: true,
      get(this: object) {
        return find(this.constructor as AnyClass, attribute)
      },
    })
    Object.defineProperty(Class, attribute, {
      configurable: true,
      get(this: AnyClass) {
        return find(this, attribute)
      },
    })
  }
}

function nameOf(Class: AnyClass): string {
  for (let each: unknown = Class; typeof each === 'function'; each = Object.getPrototypeOf(each)) {
    const own = Object.hasOwn(each, 'meteredName') ? (each as { meteredName?: unknown }).meteredName : each.name
    if (typeof own === 'string' && own !== '') return own
  }
  return 'anonymous'
}
