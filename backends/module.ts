import { readFile, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { UsageError } from '../client/errors.ts'
import type { Backend } from './backend.ts'
import type { BackendUrl } from './url.ts'

const SHAPE =
  'its default export must be a class that extends Backend, or an instance with a name and a flush method, or a function ' +
  'that takes the URL and returns one'

/**
 * `module:./my-backend.js`, `module:/opt/my-backend.js`, `module:my-package`: a path is taken from the current working
 * directory, a package from the `node_modules` there or above. The options behind the `?` are the module's own.
 *
 * @throws UsageError saying what was looked for and where, or what the module must export
 */
export async function openModule(url: BackendUrl, directory: string = process.cwd()): Promise<Backend> {
  const specifier = url.host === '' ? url.path : url.host + url.path
  if (specifier === '') {
    throw new UsageError(
      'module: names no module; write module:./my-backend.js, an absolute path, or module:my-package',
    )
  }
  if (isAbsolute(specifier) || /^\.\.?\//.test(specifier)) {
    const path = resolve(directory, specifier)
    if (!(await isFile(path))) {
      throw new UsageError(`module:${specifier} is not there; looked for the file ${path}`)
    }
    return create(url, path)
  }
  const path = await resolvePackage(specifier, directory)
  if (path !== undefined) return create(url, path)
  const hint = (await isFile(resolve(directory, specifier)))
    ? `write module:./${specifier}`
    : `npm install ${specifier}`
  throw new UsageError(`module:${specifier} is not there; looked in ${searched(directory)}; ${hint}`)
}

/** The backend of a scheme that is not built in: the package `zibrato-<scheme>`, without what follows a `+`. */
export async function openPackage(
  url: BackendUrl,
  builtIn: readonly string[],
  directory: string = process.cwd(),
): Promise<Backend> {
  const name = `zibrato-${url.scheme.replace(/\+.*/, '')}`
  const path = await resolvePackage(name, directory)
  if (path !== undefined) return create(url, path)
  throw new UsageError(
    `backend URL ${url.scheme}: is not built in (${builtIn.join(', ')} are) and the package ${name} is not in ` +
      `${searched(directory)}; correct the scheme or npm install ${name}`,
  )
}

async function create(url: BackendUrl, path: string): Promise<Backend> {
  const made = unwrap(await load(path))
  const backend: unknown = typeof made === 'function' ? await call(made as Maker, url, path) : made
  if (isBackend(backend)) return backend
  throw new UsageError(`backend module ${path} gives no backend: ${SHAPE}; it is ${describe(made, backend)}`)
}

async function load(path: string): Promise<unknown> {
  try {
    return ((await import(pathToFileURL(path).href)) as { default?: unknown }).default
  } catch (error) {
    throw new UsageError(`backend module ${path} does not load: ${messageOf(error)}`, { cause: error })
  }
}

// what TypeScript and Babel make of `export default` as CommonJS
function unwrap(exported: unknown): unknown {
  const inner = exported as { __esModule?: boolean; default?: unknown } | null | undefined
  return typeof exported === 'object' && inner?.__esModule === true ? inner.default : exported
}

type Maker = (new (url: BackendUrl) => unknown) & ((url: BackendUrl) => unknown)

async function call(made: Maker, url: BackendUrl, path: string): Promise<unknown> {
  const prototype = made.prototype as { flush?: unknown } | undefined
  const isClass = typeof prototype?.flush === 'function' || /^class\b/.test(Function.prototype.toString.call(made))
  try {
    return isClass ? new made(url) : await made(url)
  } catch (error) {
    if (error instanceof Error && (error as { code?: unknown }).code === 'ERR_USAGE') throw error
    const what = isClass ? 'constructor' : 'function'
    throw new UsageError(`backend module ${path}: its ${what} failed: ${url.redact(messageOf(error))}`, {
      cause: error,
    })
  }
}

// a module may bring its own copy of Backend, so `instanceof` says nothing
function isBackend(value: unknown): value is Backend {
  if (typeof value !== 'object' || value === null) return false
  const { name, flush } = value as Partial<Backend>
  return typeof name === 'string' && name !== '' && typeof flush === 'function'
}

function describe(made: unknown, backend: unknown): string {
  if (made === undefined) return 'missing'
  if (typeof made !== 'function') return typeof made === 'object' ? 'an object without them' : `a ${typeof made}`
  return `a function that gave ${backend === undefined ? 'nothing' : `something (${typeof backend}) without name and flush`}`
}

function messageOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}

async function isFile(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined)
  return found !== undefined && !found.isDirectory()
}

function searched(directory: string): string {
  return `${join(directory, 'node_modules')} and those of the directories above`
}

/** The file that `import` would load for a package, seen from a directory; undefined when there is none. */
async function resolvePackage(specifier: string, directory: string): Promise<string | undefined> {
  const require = createRequire(join(directory, 'package.json'))
  try {
    const path = require.resolve(specifier)
    // a core module has no path
    return isAbsolute(path) ? path : undefined
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_PACKAGE_PATH_NOT_EXPORTED') return undefined
  }
  // `require` sees only what is exported for it; most packages of today export for `import` alone
  const [, name, subpath] = /^((?:@[^/]+\/)?[^/]+)(.*)$/.exec(specifier) as unknown as [string, string, string]
  for (let folder = directory; ; folder = dirname(folder)) {
    const root = join(folder, 'node_modules', name)
    const manifest = await readFile(join(root, 'package.json'), 'utf8').catch(() => undefined)
    if (manifest !== undefined) {
      const target = exportFor((JSON.parse(manifest) as { exports?: unknown }).exports, `.${subpath}`)
      return target === undefined ? undefined : join(root, target)
    }
    if (folder === dirname(folder)) return undefined
  }
}

function exportFor(exports: unknown, subpath: string): string | undefined {
  if (typeof exports === 'string') return subpath === '.' ? exports : undefined
  if (typeof exports !== 'object' || exports === null) return undefined
  const table = exports as Record<string, unknown>
  const isTable = Object.keys(table).some((key) => key.startsWith('.'))
  return conditionOf(isTable ? table[subpath] : subpath === '.' ? table : undefined)
}

function conditionOf(target: unknown): string | undefined {
  if (typeof target === 'string') return target
  if (typeof target !== 'object' || target === null) return undefined
  for (const [condition, inner] of Object.entries(target)) {
    if (!['node', 'import', 'module-sync', 'default'].includes(condition)) continue
    const found = conditionOf(inner)
    if (found !== undefined) return found
  }
  return undefined
}
