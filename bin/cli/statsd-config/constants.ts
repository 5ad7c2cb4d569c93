import { type Expression, type Program, type Property, type SpreadElement, parse } from 'acorn'
import { UsageError } from '../../../client/errors.ts'

/** A value and where it stands in its file; lines and columns count from 1. */
export interface Constant {
  readonly value: undefined | null | boolean | number | string | readonly Constant[] | Constants
  readonly line: number
  readonly column: number
}

/** The properties of an object, in their order. A name that an object's prototype has is one like any other. */
export type Constants = ReadonlyMap<string, Constant>

// statsd evaluates `config = ` and the file behind it; on a line of its own it moves no column
const PREFIX = 'config =\n'
const WRITE = 'write for example { port: 8125, graphiteHost: "127.0.0.1" }'

/**
 * Reads an object of constants from a JavaScript expression, as statsd's configuration files are, without executing it:
 * literals, objects, arrays, `+`, `-`, `*`, `/`, `%` and `**` of constants, `undefined`, comments, trailing commas; and
 * therefore JSON. An assignment (`module.exports = {...}`) counts as its right side.
 *
 * @param file named in errors
 * @throws UsageError with line and column, the name of the setting, and the way out
 */
export function parseConstants(text: string, file: string): Constants {
  return new Evaluator(text, file).root()
}

class Evaluator {
  readonly #file: string
  readonly #source: string

  constructor(text: string, file: string) {
    this.#file = file
    this.#source = PREFIX + text
  }

  root(): Constants {
    try {
      const { value, line, column } = this.#read(this.#expression(), [])
      if (value instanceof Map) return value
      throw this.#refuse(line, column, [], `is no object; ${WRITE}`)
    } catch (error) {
      if (error instanceof RangeError) throw new UsageError(`${this.#file}: is nested too deeply`, { cause: error })
      throw error
    }
  }

  #expression(): Expression {
    const [first, second] = this.#parse().body.filter(({ type }) => type !== 'EmptyStatement')
    if (second !== undefined) {
      const { line, column } = this.#place(second)
      throw this.#refuse(line, column, [], 'the file must hold one object and nothing behind it; remove what follows')
    }
    const isExpression = first?.type === 'ExpressionStatement' && first.expression.type === 'AssignmentExpression'
    let expression = isExpression ? first.expression : undefined
    while (expression?.type === 'AssignmentExpression' && expression.operator === '=') expression = expression.right
    if (expression === undefined) throw this.#refuse(1, 1, [], `is no object; ${WRITE}`)
    return expression
  }

  #parse(): Program {
    try {
      return parse(this.#source, { ecmaVersion: 'latest', locations: true })
    } catch (cause) {
      const { loc, message } = cause as { loc?: { line: number; column: number }; message: string }
      if (loc === undefined) throw cause
      const problem = message.replace(/ \(\d+:\d+\)$/, '')
      const isEnd = loc.line === 1 || this.#source.trim() === PREFIX.trim()
      throw isEnd
        ? new UsageError(`${this.#file}: is empty; ${WRITE}`, { cause })
        : this.#refuse(loc.line - 1, loc.column + 1, [], `is no JavaScript object: ${problem}; ${WRITE}`, cause)
    }
  }

  /** @param path names of the settings around it */
  #read(node: Expression, path: readonly string[]): Constant {
    return { value: this.#value(node, path), ...this.#place(node) }
  }

  #value(node: Expression, path: readonly string[]): Constant['value'] {
    switch (node.type) {
      case 'Literal':
        if (node.regex !== undefined || typeof node.value === 'bigint') break
        return node.value as string | number | boolean | null
      case 'TemplateLiteral':
        if (node.expressions.length > 0) break
        return node.quasis[0]?.value.cooked ?? ''
      case 'Identifier':
        if (node.name === 'undefined') return undefined
        break
      case 'ParenthesizedExpression':
        return this.#value(node.expression, path)
      case 'UnaryExpression': {
        const operand = this.#value(node.argument, path)
        if (typeof operand === 'number' && node.operator === '-') return -operand
        if (typeof operand === 'number' && node.operator === '+') return operand
        break
      }
      case 'BinaryExpression': {
        if (node.left.type === 'PrivateIdentifier') break
        const result = combine(node.operator, this.#value(node.left, path), this.#value(node.right, path))
        if (result !== undefined) return result
        break
      }
      case 'ArrayExpression':
        return node.elements.map((element, index) => {
          if (element === null || element.type === 'SpreadElement') throw this.#notConstant(element ?? node, path)
          return this.#read(element, [...path, String(index)])
        })
      case 'ObjectExpression':
        return this.#object(node.properties, path)
      default:
    }
    throw this.#notConstant(node, path)
  }

  #object(properties: readonly (Property | SpreadElement)[], path: readonly string[]): Constants {
    const constants = new Map<string, Constant>()
    for (const property of properties) {
      if (property.type === 'SpreadElement' || property.computed) throw this.#notConstant(property, path)
      const { key } = property
      const name = key.type === 'Identifier' ? key.name : String((key as { value?: unknown }).value)
      const inner = [...path, name]
      if (property.kind !== 'init' || property.method) throw this.#notConstant(property, inner)
      // the last one of a name counts, as in JavaScript
      constants.delete(name)
      constants.set(name, this.#read(property.value, inner))
    }
    return constants
  }

  #place({ loc, start }: { loc?: { start: { line: number; column: number } } | null; start: number }): {
    line: number
    column: number
  } {
    const { line, column } = loc?.start ?? { line: 1, column: start }
    return { line: line - 1, column: column + 1 }
  }

  #notConstant(node: Expression | Property | SpreadElement, path: readonly string[]): UsageError {
    const text = this.#source.slice(node.start, node.end).replaceAll(/\s+/g, ' ')
    const shown = JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}...` : text)
    const { line, column } = this.#place(node)
    return this.#refuse(
      line,
      column,
      path,
      `${shown} would have to be executed, and this file is only read; write the value itself`,
    )
  }

  #refuse(line: number, column: number, path: readonly string[], problem: string, cause?: unknown): UsageError {
    return new UsageError(
      `${this.#file}:${line}:${column}: ${path.length === 0 ? '' : `${path.join('.')}: `}${problem}`,
      { cause },
    )
  }
}

/** What JavaScript makes of two constants; undefined for what nobody means in a configuration. */
function combine(operator: string, left: Constant['value'], right: Constant['value']): number | string | undefined {
  if (typeof left === 'number' && typeof right === 'number') return calculate(operator, left, right)
  const isText = (value: Constant['value']): value is string | number => ['string', 'number'].includes(typeof value)
  return operator === '+' && isText(left) && isText(right) ? `${left}${right}` : undefined
}

function calculate(operator: string, left: number, right: number): number | undefined {
  if (operator === '+') return left + right
  if (operator === '-') return left - right
  if (operator === '*') return left * right
  if (operator === '/') return left / right
  if (operator === '%') return left % right
  return operator === '**' ? left ** right : undefined
}
