import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { many, one, optional, toggle, variableOf } from '../../bin/cli/flag.ts'
import { settle } from '../../bin/cli/settings.ts'
import { Playground } from '../flow/processes.ts'
import { logged, start } from './cli.ts'

const flags = {
  size: one('max-size', 'n', '', Number, '1'),
  to: many('to', 'url', '', (text) => text, 'console:'),
  levels: optional('levels', 'list', '', (text) => text.split(',')),
  loud: toggle('loud', ''),
}
const nothing = { given: {}, env: {}, config: {} }

describe('a setting', () => {
  test('comes from the flag, else the environment, else the file, else the default', () => {
    const given = { 'max-size': '5' }
    const env = { ZIBRATO_MAX_SIZE: '4' }
    const config = { 'max-size': 3 }
    const sizeOf = (sources: Partial<typeof nothing>): unknown[] => {
      const { settings, origins } = settle(flags, { ...nothing, ...sources })
      return [settings.size, origins.size]
    }
    expect(sizeOf({ given, env, config })).toEqual([5, 'flag'])
    expect(sizeOf({ env, config })).toEqual([4, 'environment'])
    expect(sizeOf({ config })).toEqual([3, 'config'])
    expect(sizeOf({})).toEqual([1, 'default'])
  })

  test('that may be repeated is divided by blanks in the environment, and is a list in the file', () => {
    expect(settle(flags, { ...nothing, env: { ZIBRATO_TO: ' a:  b:\nc: ' } }).settings.to).toEqual(['a:', 'b:', 'c:'])
    expect(settle(flags, { ...nothing, config: { to: ['a:', 'b: c'] } }).settings.to).toEqual(['a:', 'b: c'])
    expect(settle(flags, { ...nothing, config: { to: 'a:' } }).settings.to).toEqual(['a:'])
    expect(settle(flags, { ...nothing, given: { to: ['x:'] }, env: { ZIBRATO_TO: 'a: b:' } }).settings.to).toEqual([
      'x:',
    ])
    expect(settle(flags, nothing).settings.to).toEqual(['console:'])
  })

  test('that holds several values takes a list in the file too', () => {
    expect(settle(flags, { ...nothing, config: { levels: ['info', 'crit'] } }).settings.levels).toEqual([
      'info',
      'crit',
    ])
    expect(settle(flags, nothing).settings.levels).toBeUndefined()
  })

  test('that is said or not takes yes and no, and true and false in the file', () => {
    expect(settle(flags, { ...nothing, given: { loud: true } }).settings.loud).toBe(true)
    expect(settle(flags, { ...nothing, env: { ZIBRATO_LOUD: '1' } }).settings.loud).toBe(true)
    expect(settle(flags, { ...nothing, env: { ZIBRATO_LOUD: 'no' }, config: { loud: true } }).settings.loud).toBe(false)
    expect(settle(flags, { ...nothing, config: { loud: true } }).settings.loud).toBe(true)
    expect(settle(flags, nothing).settings.loud).toBe(false)
  })

  test('that is empty in the environment is not there', () => {
    expect(settle(flags, { ...nothing, env: { ZIBRATO_MAX_SIZE: ' ' } }).origins.size).toBe('default')
  })

  test('has a variable named after its flag', () => {
    expect(variableOf({ name: 'curve-secret-key' })).toBe('ZIBRATO_CURVE_SECRET_KEY')
  })
})

test('a command takes its flags, the environment and a file together, the file serving other commands too', async () => {
  await using ground = new Playground()
  const config = {
    group: 'of-file',
    flush: '30s',
    levels: ['warn', 'crit'],
    port: 1,
    http: 0,
    grace: '1s',
    to: 'file:a.jsonl',
  }
  writeFileSync(join(ground.folder, 'zibrato.json'), JSON.stringify(config))
  const env = {
    ZIBRATO_CONFIG: 'zibrato.json',
    ZIBRATO_GROUP: 'of-environment',
    ZIBRATO_FLUSH: '20s',
    ZIBRATO_TO: 'file:b.jsonl console:',
  }
  const program = start(ground, ['up', '--port', '0', '--flush', '500ms'], env)
  expect(await logged(program, 'listening')).toMatchObject({
    group: 'of-environment',
    flushSeconds: 0.5,
    levels: ['warn', 'crit'],
    to: ['file:b.jsonl', 'console:'],
    state: 'file:.zibrato',
  })
  expect(await program.stop()).toBe(0)
})
