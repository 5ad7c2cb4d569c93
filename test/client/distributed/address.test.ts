import { chmodSync, lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Address } from '../../../client/distributed/address.ts'
import { UsageError } from '../../../client/errors.ts'

let folder = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'zd-'))
  vi.stubEnv('ZIBRATO_AGGREGATOR', undefined)
  vi.stubEnv('XDG_RUNTIME_DIR', folder)
})

afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
  rmSync(folder, { recursive: true, force: true })
})

function mode(path: string): number {
  return lstatSync(path).mode & 0o777
}

describe('the address of an aggregator', () => {
  test('is by default in a directory of this user, which nobody else may enter', () => {
    const address = new Address(undefined)
    expect(address.url).toBe(`ipc://${folder}/zibrato/metrics`)
    address.secure()
    expect(mode(join(folder, 'zibrato'))).toBe(0o700)
    // one with too many permissions loses them
    chmodSync(join(folder, 'zibrato'), 0o755)
    address.secure()
    expect(mode(join(folder, 'zibrato'))).toBe(0o700)
  })

  test('is below the temporary directory where users have none of their own, and another for each user', () => {
    vi.stubEnv('XDG_RUNTIME_DIR', '')
    expect(new Address(undefined).path).toBe(join(tmpdir(), `zibrato-${process.getuid?.()}`, 'metrics'))
  })

  test('is what the environment says, and before that what the program says', () => {
    vi.stubEnv('ZIBRATO_AGGREGATOR', 'ipc:///run/app/metrics')
    expect(new Address(undefined).url).toBe('ipc:///run/app/metrics')
    expect(new Address('ipc://other.ipc').path).toBe(join(process.cwd(), 'other.ipc'))
  })

  test('is refused when it is no file, or none that only its owner could have', () => {
    for (const bad of ['tcp://127.0.0.1:5550', 'metrics', 'ipc://', 'ipc://@abstract']) {
      expect(() => new Address(bad), bad).toThrow(UsageError)
    }
    expect(() => new Address('ipc://@abstract')).toThrow(/names no file, so anybody could connect/)
    expect(() => new Address(`ipc://${folder}/missing/m`).secure()).toThrow(/there is no directory .*missing; make it/)
    mkdirSync(join(folder, 'open'))
    chmodSync(join(folder, 'open'), 0o777)
    expect(() => new Address(`ipc://${folder}/open/m`).secure()).toThrow(/anybody may replace files in .*open/)
    // as in /tmp, where everybody replaces only his own
    chmodSync(join(folder, 'open'), 0o1777)
    new Address(`ipc://${folder}/open/m`).secure()
  })

  test('is refused when its directory, or what is there, is not this user’s', () => {
    symlinkSync(tmpdir(), join(folder, 'zibrato'))
    expect(() => new Address(undefined).secure()).toThrow(
      /zibrato is no directory of this user; remove it, or give another/,
    )
    rmSync(join(folder, 'zibrato'))
    mkdirSync(join(folder, 'zibrato'))
    mkdirSync(join(folder, 'zibrato/metrics'))
    const uid = process.getuid?.() as number
    vi.spyOn(process, 'getuid').mockReturnValue(uid + 1)
    expect(() => new Address(undefined).secure()).toThrow(/zibrato is no directory of this user/)
    expect(() => new Address(`ipc://${folder}/zibrato/metrics`).secure()).toThrow(/metrics belongs to another user/)
  })

  test('is refused on Windows', () => {
    vi.stubGlobal('process', Object.create(process, { platform: { value: 'win32' } }))
    try {
      expect(() => new Address(undefined)).toThrow(
        /no sockets in files on Windows; let each process publish to a broker/,
      )
    } finally {
      vi.unstubAllGlobals()
    }
  })
})
