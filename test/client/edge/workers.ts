import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { Miniflare, type MiniflareOptions } from 'miniflare'
import { GatewayDouble } from '../transport/gateway-double.ts'

const EDGE = fileURLToPath(new URL('../../../client/edge.ts', import.meta.url))

/** A Worker's script, bundled; `zibrato/edge` in it is the source. */
export async function bundled(contents: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: contents.replaceAll("'zibrato/edge'", JSON.stringify(EDGE)), resolveDir: '/', loader: 'js' },
    bundle: true,
    format: 'esm',
    platform: 'browser',
    write: false,
  })
  return outputFiles[0]?.text ?? ''
}

/** Real Workers and gateways that answer as they are told to, all gone once disposed of. */
export class Edge implements AsyncDisposable {
  readonly #stops: (() => Promise<unknown>)[] = []

  async worker(source: string, options: Partial<MiniflareOptions> = {}): Promise<Miniflare> {
    const miniflare = new Miniflare({
      modules: true,
      script: await bundled(source),
      compatibilityDate: '2025-09-01',
      ...options,
    } as MiniflareOptions)
    this.#stops.push(() => miniflare.dispose())
    await miniflare.ready
    return miniflare
  }

  async gateway(): Promise<GatewayDouble> {
    const double = await GatewayDouble.start()
    this.#stops.push(() => double.stop())
    return double
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#stops.splice(0).map((stop) => stop()))
  }
}
