import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'

const ROOT = resolve(import.meta.dirname, '..')

interface Import {
  readonly to: string
  readonly typeOnly: boolean
  readonly lazy: boolean
}

const files = ['bin', 'client', 'gateway', 'backends']
  .flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file)),
  )
  .filter((file) => file.endsWith('.ts'))

const imports = new Map(files.map((file) => [file, importsOf(file)]))

function importsOf(file: string): Import[] {
  const text = readFileSync(join(ROOT, file), 'utf8')
  const found: Import[] = []
  for (const [, keyword, names, specifier] of text.matchAll(/^(import|export)\s([^'"]*?)\s?from '([^']+)'/gms)) {
    const clause = (names ?? '').trim()
    const typeOnly =
      clause.startsWith('type ') ||
      (keyword === 'import' &&
        /^\{[^}]*\}$/.test(clause) &&
        clause
          .slice(1, -1)
          .split(',')
          .every((name) => name.trim() === '' || name.trim().startsWith('type ')))
    found.push({ to: target(file, specifier as string), typeOnly, lazy: false })
  }
  for (const [, specifier] of text.matchAll(/\bimport\('([^']+)'\)/g)) {
    found.push({ to: target(file, specifier as string), typeOnly: false, lazy: true })
  }
  return found
}

function target(from: string, specifier: string): string {
  return specifier.startsWith('.') ? relative(ROOT, resolve(ROOT, dirname(from), specifier)) : specifier
}

/** Everything that loads when a file does, packages too. */
function closure(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen
  seen.add(file)
  for (const { to, typeOnly, lazy } of imports.get(file) ?? []) if (!typeOnly && !lazy) closure(to, seen)
  return seen
}

function offenders(folder: string, allowed: (to: string) => boolean): string[] {
  return files
    .filter((file) => file.startsWith(folder))
    .flatMap((file) => (imports.get(file) ?? []).map(({ to }) => ({ file, to })))
    .filter(({ to }) => files.includes(to) && !allowed(to))
    .map(({ file, to }) => `${file} imports ${to}`)
}

// what every part may use: the errors, the shape of a measurement, and such
const isLeaf = (to: string): boolean =>
  /^client\/[a-z]+\.ts$/.test(to) && !/^client\/(client|zibrato|index|edge|testing|api)\.ts$/.test(to)

describe('the architecture', () => {
  it('finds the sources and what they import', () => {
    expect(files.length).toBeGreaterThan(50)
    expect(imports.get('client/zibrato.ts')?.map(({ to }) => to)).toContain('client/client.ts')
  })

  it('lets client import nothing from gateway or backends', () => {
    expect(offenders('client/', (to) => to.startsWith('client/'))).toEqual([])
  })

  it('lets gateway import only the wire, registry and transport of client', () => {
    expect(
      offenders(
        'gateway/',
        (to) => to.startsWith('gateway/') || /^client\/(wire|registry|transport)\//.test(to) || isLeaf(to),
      ),
    ).toEqual([])
  })

  it('lets backends import only the wire and sketches of client, and what the journal looks like', () => {
    const isJournal = (to: string): boolean => /^gateway\/journal\/(keys|scripts)\.ts$/.test(to)
    expect(
      offenders(
        'backends/',
        (to) => to.startsWith('backends/') || /^client\/(wire|sketch)\//.test(to) || isLeaf(to) || isJournal(to),
      ),
      // one entry for everything that tests use
    ).toEqual(['backends/testing.ts imports client/testing.ts'])
  })

  it('has no circle of imports, types included', () => {
    const done = new Set<string>()
    const visit = (file: string, path: readonly string[]): void => {
      const at = path.indexOf(file)
      if (at >= 0) throw new Error(`circle: ${[...path.slice(at), file].join(' -> ')}`)
      if (done.has(file)) return
      for (const { to } of imports.get(file) ?? []) if (files.includes(to)) visit(to, [...path, file])
      done.add(file)
    }
    for (const file of files) visit(file, [])
    expect(done.size).toBe(files.length)
  })

  it('keeps Node and native packages out of what runs at the edge', () => {
    for (const entry of ['client/edge.ts', 'gateway/app.ts', 'gateway/edge.ts', 'client/wire/frame.ts']) {
      const outside = [...closure(entry)].filter((file) => !files.includes(file))
      expect(outside.filter((name) => name !== 'hono' && !name.startsWith('hono/'))).toEqual([])
    }
  })

  it('lets a Lambda function load nothing but what Node has', () => {
    const outside = [...closure('client/lambda.ts')].filter((file) => !files.includes(file))
    expect(outside.filter((name) => !name.startsWith('node:'))).toEqual([])
  })

  it('loads zeromq, ioredis, pino and commander only where they are needed', () => {
    for (const entry of ['client/index.ts', 'client/testing.ts', 'backends/index.ts', 'backends/worker/index.ts']) {
      const loaded = closure(entry)
      for (const heavy of ['zeromq', 'ioredis', 'pino', 'commander'])
        expect(loaded.has(heavy), `${entry} loads ${heavy}`).toBe(false)
    }
  })

  it('loads what only some programs want from entries of its own', () => {
    const loaded = [...closure('client/index.ts')]
    expect(loaded.filter((file) => file.startsWith('client/runtime/'))).toEqual([])
  })

  it('has only re-exports in index files and entries', () => {
    const entries = files
      .filter((file) => file.endsWith('/index.ts'))
      .concat('client/edge.ts', 'client/lambda.ts', 'client/testing.ts', 'client/api.ts', 'backends/testing.ts')
    for (const file of entries) {
      const rest = readFileSync(join(ROOT, file), 'utf8')
        .replaceAll(/\/\*\*.*?\*\//gs, '')
        .replaceAll(/^export (type )?(\*|\{[^}]*\}) from '[^']+'$/gm, '')
      expect(rest.trim(), file).toBe('')
    }
  })

  it('exports only what is there', () => {
    const { exports, bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      exports: Record<string, string | { types: string; default: string }>
      bin: Record<string, string>
    }
    const built = [
      ...Object.values(exports).flatMap((entry) => (typeof entry === 'string' ? [] : [entry.default])),
      ...Object.values(bin),
    ]
    for (const file of built) expect(files).toContain(file.replace(/^(\.\/)?dist\//, '').replace(/\.js$/, '.ts'))
  })
})
