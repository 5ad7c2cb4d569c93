import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'

/** A module next to this one, compiled with TypeScript's legacy decorators. */
export async function importLegacy<Module>(name: string): Promise<Module> {
  const folder = await mkdtemp(join(tmpdir(), 'zibrato-decorators-'))
  try {
    const { outputFiles } = await build({
      entryPoints: [new URL(name, import.meta.url).pathname],
      bundle: true,
      format: 'esm',
      write: false,
      tsconfigRaw: { compilerOptions: { experimentalDecorators: true } },
    })
    const file = join(folder, 'legacy.mjs')
    await writeFile(file, outputFiles[0]?.contents ?? '')
    return (await import(/* @vite-ignore */ pathToFileURL(file).href)) as Module
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
