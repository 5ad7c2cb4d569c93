import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { FileState } from '../../../backends/state/file.ts'
import { MemoryState } from '../../../backends/state/memory.ts'
import { openState } from '../../../backends/state/open.ts'
import { RedisState } from '../../../backends/state/redis.ts'
import { UsageError } from '../../../client/errors.ts'
import { temporaryDirectories } from './directory.ts'

const directory = temporaryDirectories()

function failureOf(url: string): string {
  expect(() => openState(url)).toThrow(UsageError)
  try {
    openState(url)
  } catch (error) {
    return (error as Error).message
  }
  throw new Error(`${url} was taken`)
}

describe('a state URL', () => {
  it('names memory', () => {
    for (const url of ['memory:', 'memory://', 'MEMORY:']) expect(openState(url)).toBeInstanceOf(MemoryState)
  })

  it('names a directory, relative or absolute', () => {
    for (const [url, path] of [
      ['file:.zibrato', resolve('.zibrato')],
      ['file:a/b/', resolve('a/b')],
      ['file:../x', resolve('../x')],
      ['file:/var/lib/zibrato', '/var/lib/zibrato'],
      ['file:///var/lib/zibrato', '/var/lib/zibrato'],
      ['file:/x?sync=always', '/x'],
    ] as const) {
      const state = openState(url)
      expect(state).toBeInstanceOf(FileState)
      expect(state.name).toBe(`file:${path}`)
    }
  })

  it('hands its options on', async () => {
    const path = join(await directory(), 'state')
    for (const url of ['memory:', `file:${path}`]) {
      const state = openState(url, { now: () => 4711 })
      await state.open({ group: 'g', backends: [] })
      expect(await state.now()).toBe(4711)
      await state.close()
    }
  })

  it('names a Redis of any kind, and shows no password of it', () => {
    for (const url of [
      'redis://user:secret@host',
      'rediss://:secret@host/3',
      'redis+sentinel://secret@a:26379,b/main',
      'redis+cluster://user:secret@[::1]:7000,b:7001?prefix=x:&lease=2s',
    ]) {
      const state = openState(url)
      expect(state).toBeInstanceOf(RedisState)
      expect(state.name).toMatch(/^redis.*host|^redis.*:\/\/[a[]/)
      expect(state.name).not.toContain('secret')
    }
  })

  it.each([
    ['redis://u:secret@a,b', /takes one host/],
    ['redis+sentinel://u:secret@a', /names no master/],
    ['redis://u:secret@host/x', /no number of a database/],
    ['redis://u:secret@host:99999', /no host and port/],
    ['redis://u:secret@host?lease=1h', /lease/],
    ['redis://u:secret@host?leese=1s', /"leese"/],
    ['redis://u:$NO_SUCH_VARIABLE@host', /NO_SUCH_VARIABLE is not set/],
  ])('that makes no sense is refused with the way out: %s', (url, reason) => {
    const message = failureOf(url)
    expect(message).toMatch(reason)
    expect(message).not.toContain('secret')
  })

  it('of an unknown kind, or of none, is refused with the choices', () => {
    for (const url of ['postgres://u:secret@h', 'c:\\state', '.zibrato', '', 'memory']) {
      const message = failureOf(url)
      expect(message).toContain('memory:, file:DIR or redis://HOST')
      expect(message).not.toContain('secret')
    }
  })

  it('that makes no sense otherwise is refused with what does', () => {
    expect(failureOf('memory:x')).toContain('takes nothing')
    expect(failureOf('file:')).toContain('file:DIR')
    expect(failureOf('file:?sync=always')).toContain('file:DIR')
    expect(failureOf('file://host/dir')).toContain('file:///DIR')
    expect(failureOf('file:x?sync=sometimes')).toContain('commit, always, never')
    expect(failureOf('file:x?color=red')).toContain('color')
  })
})
