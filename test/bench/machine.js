import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { arch, cpus, loadavg, totalmem, type } from 'node:os'
import { dirname, join } from 'node:path'

const PEERS = ['prom-client', 'hot-shots', '@datadog/sketches-js', 'hono', '@hono/node-server', 'zeromq']

const require = createRequire(import.meta.url)

/**
 * What figures depend on besides the code.
 *
 * @typedef {ReturnType<typeof machine>} Machine
 */
export function machine() {
  const processors = cpus()
  return {
    cpu: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${arch()}`,
    node: process.version,
    /** Of the last minute: what else the machine was doing. */
    load: Math.round((loadavg()[0] ?? 0) * 100) / 100,
    packages: Object.fromEntries(PEERS.map((name) => [name, versionOf(name)])),
  }
}

/** @param {string} name */
function versionOf(name) {
  // not every package exports its package.json
  let folder = dirname(require.resolve(name))
  for (;;) {
    try {
      const found = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
      if (found.name === name) return found.version
    } catch {
      // one folder up
    }
    if (folder === dirname(folder)) return 'unknown'
    folder = dirname(folder)
  }
}
