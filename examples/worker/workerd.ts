import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { Miniflare } from 'miniflare'

export interface WorkerOptions {
  /** Default: a free one. */
  readonly port?: number
  /** Variables and secrets of the Worker. */
  readonly env: Readonly<Record<string, string>>
}

/** `worker.mjs` in workerd, which is what runs Workers at Cloudflare's, on a port of this machine. */
export async function startWorker({ port = 0, env }: WorkerOptions): Promise<{ url: string; stop(): Promise<void> }> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('./worker.mjs', import.meta.url))],
    bundle: true,
    format: 'esm',
    write: false,
  })
  const miniflare = new Miniflare({
    modules: true,
    script: outputFiles[0]?.text ?? '',
    compatibilityDate: '2025-09-01',
    port,
    bindings: env,
  })
  const url = await miniflare.ready
  return { url: url.href, stop: () => miniflare.dispose() }
}
