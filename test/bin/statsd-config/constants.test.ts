import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Constant, type Constants, parseConstants } from '../../../bin/cli/statsd-config/constants.ts'
import { UsageError } from '../../../client/errors.ts'

/** What the file stands for, as plain objects. */
function read(text: string): unknown {
  return plain(parseConstants(text, 'config.js'))
}

function plain(value: Constant['value']): unknown {
  if (value instanceof Map) {
    return Object.fromEntries([...(value as Constants)].map(([name, each]) => [name, plain(each.value)]))
  }
  return Array.isArray(value) ? (value as readonly Constant[]).map((each) => plain(each.value)) : value
}

/** What statsd 0.9 makes of it (lib/config.js). */
function executed(text: string): unknown {
  return runInNewContext(`config = ${text}`, { config: {}, module: {} })
}

/** As people write it. */
function written(value: unknown): string {
  if (Array.isArray(value)) return `[ ${value.map((each) => `${written(each)}, /* , */`).join('')} ]`
  if (typeof value === 'string')
    return value.includes('`') ? JSON.stringify(value) : `\`${value.replace(/[\\$]/g, '\\$&')}\``
  if (typeof value !== 'object' || value === null) return String(value)
  const names = Object.entries(value).map(([name, each]) => {
    return `${/^[a-z]+$/.test(name) ? name : JSON.stringify(name)}: ${written(each)}, // ${name.replace(/[^a-z]/g, '')}\n`
  })
  return `{\n${names.join('')}}`
}

const constants = fc.dictionary(
  fc.string(),
  fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      fc.string(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('value')),
      fc.dictionary(fc.string(), tie('value')),
    ),
  })).value,
)

describe("a file of statsd's configuration", () => {
  it("is read as statsd reads it: its own example, Debian's way, and whatever else is constant", () => {
    const example = createRequire(import.meta.url).resolve('statsd/exampleConfig.js')
    const files = [
      readFileSync(example, 'utf8'),
      '{}',
      '\ufeff// a comment\n{ port: 8125, }; // and one more\n',
      "module.exports = { 'port': 0x1fbd, \"address\": '::', list: [1, [2,], {}] }",
      '({ port: 8125 })',
      '{"flushInterval": 10000, "backends": ["./backends/console"]}',
      '{ flushInterval: 10 * 1000 + (-5 - +5), name: "a" + "b" + 7 + `c`, half: 10 / 4, odd: 7 % 4, big: 2 ** 10 }',
      '{ a: undefined, b: null, c: true, d: -1.5e3, e: "\\u00e4\\n", 1: 1, f: .5, a: 2 }',
      '/* only this */ {\n  graphite: {\n    legacyNamespace: false, // yes\n  },\n}\n;;',
    ]
    for (const file of files) expect(read(file), file).toEqual(executed(file))
  })

  it('may be written in any way', () => {
    fc.assert(
      fc.property(constants, fc.boolean(), (object, asJson) => {
        const text = asJson ? JSON.stringify(object, undefined, 2) : written(object)
        // JavaScript takes a key __proto__ for something else
        fc.pre(!text.includes('__proto__'))
        expect(read(text)).toEqual(executed(text))
      }),
    )
  })

  it('may hold the names of a prototype, which are names like any other', () => {
    const parsed = parseConstants('{ __proto__: { port: 1 }, constructor: 2, toString: 3, port: 4 }', 'config.js')
    expect([...parsed.keys()]).toEqual(['__proto__', 'constructor', 'toString', 'port'])
    expect(({} as { port?: unknown }).port).toBeUndefined()
  })

  it.each([
    ['{ port: 1,\n  graphiteHost: process.env.HOST }', '2:17: graphiteHost: "process.env.HOST"'],
    [
      '{ graphite: {\n globalSuffix: require("os").hostname() } }',
      '2:16: graphite.globalSuffix: "require(\\"os\\").host',
    ],
    ['{ port: process.env.PORT || 8125 }', '1:9: port: "process.env.PORT || 8125"'],
    ['{ a: /x/ }', '1:6: a: "/x/"'],
    ['{ a: 10n }', '1:6: a: "10n"'],
    ['{ a: `${1}` }', '1:6: a: "`${1}`"'],
    ['{ ...{ a: 1 } }', '1:3: "...{ a: 1 }"'],
    ['{ a: [1, ...[2]] }', '1:10: a: "...[2]"'],
    ['{ a: [,] }', '1:6: a: "[,]"'],
    ['{ ["a"]: 1 }', '1:3: "[\\"a\\"]: 1"'],
    ['{ a() {} }', '1:3: a: "a() {}"'],
    ['{ get a() { return 1 } }', '1:3: a: "get a() { return 1 }"'],
    ['{ port }', '1:3: port: "port"'],
    ['{ a: x = 1 }', '1:6: a: "x = 1"'],
    ['{ a: () => process.exit(1) }', '1:6: a: "() => process.exit(1)"'],
    ['{ a: !0 }', '1:6: a: "!0"'],
    ['{ a: 1 + null }', '1:6: a: "1 + null"'],
    ['(function () { return {} })()', '1:1: "(function () { return {} })()"'],
  ])('is never executed: %s is refused', (text, message) => {
    expect(() => read(text)).toThrow(`config.js:${message}`)
    expect(() => read(text)).toThrow('this file is only read; write the value itself')
  })

  it.each([
    ['{ port: 1', 'config.js:1:10: is no JavaScript object'],
    ['{ port: 1 }}', 'config.js:1:12: is no JavaScript object'],
    ['port = 8125\nhost = 1', 'config.js:2:1: the file must hold one object'],
    ['', 'config.js: is empty'],
    ['  \n\n', 'config.js: is empty'],
    ['[1]', 'config.js:1:1: is no object; write for example { port'],
    ['"x"', 'config.js:1:1: is no object'],
    ['{}, {}', 'config.js:1:1: is no object'],
    [`{ a: ${'['.repeat(50_000)}`, 'config.js'],
  ])('that is none is refused with its place: %.30s', (text, message) => {
    expect(() => read(text)).toThrow(UsageError)
    expect(() => read(text)).toThrow(message)
  })

  it('is either read or refused, whatever it holds', () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ':',
      ',',
      'a',
      '"x"',
      '1',
      '+',
      '-',
      '`',
      '/',
      '*',
      '//',
      '\n',
      '=',
    )
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(pieces, { maxLength: 30 }).map((parts) => parts.join(' ')),
    )
    fc.assert(
      fc.property(texts, (text) => {
        try {
          parseConstants(text, 'config.js')
          return true
        } catch (error) {
          return error instanceof UsageError
        }
      }),
      { numRuns: 500 },
    )
  })
})
