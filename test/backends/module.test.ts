import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Backend, Window } from '../../backends/backend.ts'
import { backendContract } from '../../backends/contract.ts'
import { inDoubtOf, openBackend } from '../../backends/open.ts'
import { recordOf } from '../../backends/record.ts'
import { parseBackendUrl } from '../../backends/url.ts'
import { UsageError } from '../../client/errors.ts'
import { tempDirectories } from './temp.ts'

const temp = tempDirectories()
const before = process.cwd()
let directory = ''

beforeEach(async () => {
  directory = await temp()
  process.chdir(directory)
})
afterEach(() => process.chdir(before))

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(directory, path)), { recursive: true })
  await writeFile(join(directory, path), text)
}

async function refusal(url: string): Promise<string> {
  const error: unknown = await openBackend(url, { SECRET: 'opensesame' }).catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(UsageError)
  expect(inspect(error)).not.toContain('opensesame')
  return (error as Error).message
}

const KEEPER = `
export default class Keeper {
  name = 'keeper'
  windows = []
  constructor(url) { this.option = url.params.text('option') }
  async flush(window, signal) {
    signal.throwIfAborted()
    this.windows.push(window)
  }
}`

interface Keeper extends Backend {
  readonly option: string | undefined
  readonly windows: Window[]
}

describe('module: passes the backend contract and', () => {
  let keeper: Keeper
  const setup = {
    create: async () => {
      await write('keeper.mjs', KEEPER)
      keeper = (await openBackend('module:./keeper.mjs')) as Keeper
      return keeper
    },
    received: () => keeper.windows.flatMap((window) => window.rollups.map((rollup) => recordOf(window, rollup))),
  }
  test.each(backendContract(setup))('$title', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined()
  })
})

describe('a module', () => {
  test('is loaded from a relative or absolute path and gets its options', async () => {
    await write('lib/my backend.mjs', KEEPER)
    const urls = ['module:./lib/my%20backend.mjs', `module:${directory}/lib/my%20backend.mjs`]
    for (const url of urls) {
      const keeper = (await openBackend(`${url}?option=$SECRET`, { SECRET: 'a b' })) as Keeper
      expect([keeper.name, keeper.option]).toEqual(['keeper', 'a b'])
    }
  })

  test.each([
    ['an ES module', { type: 'module', exports: './main.js' }, KEEPER],
    [
      'exported for import alone',
      { type: 'module', exports: { '.': { types: './x.d.ts', import: './main.js' } } },
      KEEPER,
    ],
    ['CommonJS', { main: 'main.js' }, KEEPER.replace('export default', 'module.exports =')],
    ['compiled to CommonJS', {}, `exports.__esModule = true;${KEEPER.replace('export default', 'exports.default =')}`],
  ])('may be a package that is %s, here or in a directory above', async (_, manifest, code) => {
    const main = 'exports' in manifest || 'main' in manifest ? 'main.js' : 'index.js'
    await write('node_modules/@org/keeper/package.json', JSON.stringify(manifest))
    await write(`node_modules/@org/keeper/${main}`, code)
    await mkdir(join(directory, 'deep/er'), { recursive: true })
    process.chdir(join(directory, 'deep/er'))
    expect((await openBackend('module:@org/keeper')).name).toBe('keeper')
  })

  test.each([
    ['a class without flush on its prototype', 'export default class { name = "x"; flush = async () => {} }'],
    ['an instance', 'export default { name: "x", async flush() {} }'],
    ['a function', 'export default (url) => ({ name: "x", path: url.path, async flush() {} })'],
    ['an async function', 'export default async function (url) { return { name: "x", async flush() {} } }'],
  ])('may export %s', async (_, code) => {
    await write('x.mjs', code)
    expect((await openBackend('module:./x.mjs')).name).toBe('x')
  })

  test.each([
    ['nothing', 'export const backend = 1', 'it is missing'],
    ['an object of another shape', 'export default { name: "x" }', 'it is an object without them'],
    ['a text', 'export default "x"', 'it is a string'],
    ['a function that gives nothing', 'export default () => {}', 'it is a function that gave nothing'],
    ['a class without a name', 'export default class { flush() {} }', 'something (object) without name and flush'],
  ])('that exports %s is told what it must export', async (_, code, found) => {
    await write('x.mjs', code)
    const message = await refusal('module:./x.mjs')
    expect(message).toContain('its default export must be a class that extends Backend, or an instance')
    expect(message).toContain(found)
  })

  test('that does not load or cannot be made says why, without a secret', async () => {
    await write('syntax.mjs', 'export default class {')
    expect(await refusal('module:./syntax.mjs')).toContain(`backend module ${directory}/syntax.mjs does not load: `)
    await write(
      'throws.mjs',
      'export default class { constructor(url) { throw new Error("bad " + url.params.text("token")) } }',
    )
    const error: unknown = await openBackend('module:./throws.mjs?token=opensesame').catch((reason: unknown) => reason)
    expect((error as Error).message).toContain('throws.mjs: its constructor failed: Error: bad ***')
  })

  test('that never asks for an option it is given has that option refused', async () => {
    await write('keeper.mjs', KEEPER)
    expect(await refusal('module:./keeper.mjs?optoin=5')).toContain(
      'unknown option "optoin"; it takes option, in-doubt',
    )
  })

  test('that is not there is named with where it was looked for', async () => {
    expect(await refusal('module:./nothing.js')).toBe(
      `module:./nothing.js is not there; looked for the file ${directory}/nothing.js`,
    )
    expect(await refusal('module:nothing')).toContain(
      `looked in ${directory}/node_modules and those of the directories above`,
    )
    await write('here.js', '')
    expect(await refusal('module:here.js')).toContain('write module:./here.js')
    expect(await refusal('module:')).toContain('names no module')
  })
})

describe('a scheme that is not built in', () => {
  test.each(['keeper:', 'keeper://user:pw@host:1/path', 'keeper+https://host'])(
    'loads the package of its name: %s',
    async (url) => {
      await write('node_modules/zibrato-keeper/package.json', '{"type":"module","exports":"./main.js"}')
      await write('node_modules/zibrato-keeper/main.js', KEEPER)
      expect(((await openBackend(`${url}?option=1`)) as Keeper).option).toBe('1')
    },
  )

  test('without such a package is named with what there is, and where it was looked for', async () => {
    const message = await refusal('fiel:opensesame')
    expect(message).toContain('backend URL fiel: is not built in (console, file, ')
    expect(message).toContain(`the package zibrato-fiel is not in ${directory}/node_modules`)
  })

  test.each(['constructor:', '__proto__:', 'tostring:'])('is not found among the inner workings: %s', async (url) => {
    expect(await refusal(url)).toMatch(/not built in|names no backend/)
  })
})

test('a window in doubt is treated as the backend needs, the URL says, or the backend would have it', () => {
  const url = (text: string): ReturnType<typeof parseBackendUrl> => parseBackendUrl(text, {})
  const backend = (fields: object): Backend => ({ name: 'x', idempotent: false, ...fields }) as unknown as Backend
  expect(inDoubtOf(backend({}), url('x1:'))).toBe('drop')
  expect(inDoubtOf(backend({}), url('x1:?in-doubt=resend'))).toBe('resend')
  expect(inDoubtOf(backend({ inDoubt: 'resend' }), url('x1:'))).toBe('resend')
  expect(inDoubtOf(backend({ inDoubt: 'resend' }), url('x1:?in-doubt=drop'))).toBe('drop')
  expect(inDoubtOf(backend({ idempotent: true }), url('x1:?in-doubt=drop'))).toBe('resend')
})
