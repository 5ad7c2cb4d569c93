// Makes dist/zibrato-lambda-extension.zip of the built command: what `zibrato-lambda-extension --layer FILE` writes.
import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { build } from 'esbuild'
import { strToU8, zipSync } from 'fflate'

const NAME = 'zibrato-lambda-extension'
const dist = resolve(import.meta.dirname, '..', process.argv[2] ?? 'dist')

// Lambda starts every file of extensions/, so the program itself is beside it
const START = `#!/bin/sh
exec "$(command -v node || echo /var/lang/bin/node)" "$(dirname "$0")/../${NAME}/index.mjs" "$@"
`

const { outputFiles } = await build({
  entryPoints: [join(dist, 'bin', `${NAME}.js`)],
  bundle: true,
  minify: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  write: false,
})
const license = readFileSync(new URL('../LICENSE', import.meta.url))

/** The same bytes for the same sources. @param {number} mode */
const file = (mode) => ({ level: 9, os: 3, attrs: (0o100000 | mode) << 16, mtime: '2020-01-01T00:00:00' })
const zip = zipSync({
  [`extensions/${NAME}`]: [strToU8(START), file(0o755)],
  [`${NAME}/index.mjs`]: [outputFiles[0].contents, file(0o644)],
  [`${NAME}/LICENSE`]: [license, file(0o644)],
})
writeFileSync(join(dist, `${NAME}.zip`), zip)
