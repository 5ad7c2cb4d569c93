import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'

const ROOT = join(import.meta.dirname, '../..')

/** The code of a page, block by block. */
export function blocksOf(markdown: string): string[] {
  return [...markdown.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = '']) => code)
}

/** Runs a block as a module that imports the sources by the package's name; answers what it exports. */
export async function runBlock(code: string, folder: string, name: string): Promise<object> {
  const source = join(folder, `${name}.ts`)
  const outfile = join(folder, `${name}.mjs`)
  writeFileSync(source, code)
  await build({
    entryPoints: [source],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'es2022',
    external: ['zeromq', 'hono'],
    alias: {
      'zibrato/testing': join(ROOT, 'client/testing.ts'),
      'zibrato/runtime': join(ROOT, 'client/runtime/index.ts'),
      'zibrato/registry': join(ROOT, 'client/registry/index.ts'),
      'zibrato/reporters': join(ROOT, 'client/reporters/index.ts'),
      'zibrato/edge': join(ROOT, 'client/edge.ts'),
      'zibrato/lambda': join(ROOT, 'client/lambda.ts'),
      zibrato: join(ROOT, 'client/index.ts'),
    },
  })
  return (await import(/* @vite-ignore */ pathToFileURL(outfile).href)) as object
}
