import { join, resolve as resolvePath } from 'node:path'
import { register } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { isMainThread } from 'node:worker_threads'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const BUILT = pathToFileURL(join(ROOT, 'dist/')).href

/** The build that is measured: `dist/`, or the one that `ZIBRATO_TEST_DIST` names. */
export const DIST = resolvePath(ROOT, process.env.ZIBRATO_TEST_DIST ?? 'dist')

/** Arguments of Node that have a process import that other build, if there is one. */
export const OTHER_BUILD = process.env.ZIBRATO_TEST_DIST === undefined ? [] : ['--import', import.meta.url]

// hooks run on a thread of their own, which loads this file too
if (isMainThread && OTHER_BUILD.length > 0) register(import.meta.url)

/** @type {import('node:module').ResolveHook} */
export async function resolve(specifier, context, next) {
  const found = await next(specifier, context)
  if (!found.url.startsWith(BUILT)) return found
  return { ...found, url: pathToFileURL(join(DIST, found.url.slice(BUILT.length))).href }
}
