import { resolve } from 'node:path'
import { type ViteUserConfig, defineConfig } from 'vitest/config'

/** Tests against other programs, which `install.mjs` beside this file installs; `npm run test:peers`. */
const config: ViteUserConfig = defineConfig({
  root: resolve(import.meta.dirname, '../..'),
  test: {
    include: ['test/peers/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
})

export default config
