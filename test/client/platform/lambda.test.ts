import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { UsageError } from '../../../client/errors.ts'
import { Zibrato } from '../../../client/lambda.ts'
import type { Warning } from '../../../client/warning.ts'
import { GatewayDouble } from '../transport/gateway-double.ts'

afterEach(() => {
  vi.unstubAllEnvs()
})

describe('zibrato/lambda', () => {
  test('bundles without externals and holds nothing but what Node has', async () => {
    const { outputFiles, metafile } = await build({
      entryPoints: [fileURLToPath(new URL('../../../client/lambda.ts', import.meta.url))],
      bundle: true,
      minify: true,
      format: 'esm',
      platform: 'node',
      write: false,
      metafile: true,
    })
    const [output] = Object.values(metafile.outputs)
    const imported = output?.imports.map(({ path }) => path) ?? []
    expect(imported.length).toBeGreaterThan(0)
    expect(imported.filter((path) => !path.startsWith('node:'))).toEqual([])
    const [file] = outputFiles
    console.log(
      `zibrato/lambda: ${file?.text.length} bytes minified, ${gzipSync(file?.contents ?? '').length} compressed`,
    )
    expect(file?.text.length).toBeLessThan(100_000)
  })

  test('has the function’s name for its source, unless somebody says otherwise', () => {
    vi.stubEnv('AWS_LAMBDA_FUNCTION_NAME', 'orders')
    expect(new Zibrato({ exitHooks: false }).source).toBe('orders')
    expect(new Zibrato({ exitHooks: false, source: 'shop' }).source).toBe('shop')
    vi.stubEnv('ZIBRATO_SOURCE', 'from the environment')
    expect(new Zibrato({ exitHooks: false }).source).toBe('from the environment')
  })

  test('sends by itself outside of Lambda, where no extension is looked for', async () => {
    const double = await GatewayDouble.start()
    vi.stubEnv('ZIBRATO_EXTENSION_PORT', String(double.port))
    await using z = new Zibrato({ url: double.url, exitHooks: false })
    z.counter('hits').inc()
    await z.flush()
    expect(double.sum('hits')).toBe(1)
    expect(double.posts[0]?.headers).not.toHaveProperty('zibrato-gateway')
    await double.stop()
  })

  test('has no raw sockets, and no extension on a port that is none', () => {
    const warnings: Warning[] = []
    expect(() => new Zibrato({ url: 'tcp://127.0.0.1:5550' })).toThrow(UsageError)
    vi.stubEnv('AWS_LAMBDA_RUNTIME_API', '127.0.0.1:9001')
    vi.stubEnv('ZIBRATO_EXTENSION_PORT', '99999')
    expect(() => new Zibrato({ url: 'https://metrics.example.com' })).toThrow(
      /ZIBRATO_EXTENSION_PORT "99999" is no port/,
    )
    void new Zibrato({ onWarning: (warning) => warnings.push(warning) })
    expect(warnings.map(({ code }) => code)).toEqual(['ZIBRATO_NO_URL'])
  })
})
