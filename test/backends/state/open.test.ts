import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { FileState } from '../../../backends/state/file.ts'
import { MemoryState } from '../../../backends/state/memory.ts'
import { openState } from '../../../backends/state/open.ts'
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

  it('of Redis is refused as not there yet, without its password', () => {
    for (const url of ['redis://:secret@host', 'rediss://:secret@host', 'redis+sentinel://:secret@host']) {
      const message = failureOf(url)
      expect(message).toContain('not available yet')
      expect(message).not.toContain('secret')
    }
  })

  it('of an unknown kind, or of none, is refused with the choices', () => {
    for (const url of ['postgres://u:secret@h', 'c:\\state', '.zibrato', '', 'memory']) {
      const message = failureOf(url)
      expect(message).toContain('memory: or file:DIR')
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
