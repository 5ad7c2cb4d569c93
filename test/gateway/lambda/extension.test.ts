import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { unzipSync } from 'fflate'
import { readFileSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { EmulatorOptions, LambdaEmulator } from '../../../examples/lambda/emulator.ts'
import { accept, respond } from '../../client/transport/gateway-double.ts'
import { DIST, Playground } from '../../flow/processes.ts'
import { freePort } from '../../free-port.ts'
import { gateway } from '../../lambda/gateway.ts'
import { answered, lastWords, sandbox } from '../../lambda/sandbox.ts'
import { until } from '../../until.ts'

/** A function in the emulator, and the extension beside it. */
async function start(
  handler: string,
  env: Readonly<Record<string, string>>,
  options: Partial<EmulatorOptions> = {},
): Promise<LambdaEmulator> {
  const lambda = await sandbox('extension', handler, env, options)
  onTestFinished(() => lambda[Symbol.asyncDispose]())
  return lambda
}

/** Invokes until the extension has told that it takes part, which it may be too late for in the first one. */
async function warm(lambda: LambdaEmulator): Promise<void> {
  answered(await lambda.invoke({ count: 0 }))
  await lambda.idle()
}

describe('zibrato-lambda-extension', () => {
  test('has an invocation wait for nothing, and sends before both are frozen', async () => {
    const double = await gateway()
    const lambda = await start('plain', { ZIBRATO_URL: double.url, ZIBRATO_TOKEN: 'secret', BUDGET: '60s' })
    let n = 0
    // a machine that is busy may be too late to tell the extension that an invocation has begun
    await until(async () => {
      let release = (): void => {}
      const posted = new Promise<boolean>((resolve) => {
        double.next.push((post, response) => {
          release = () => accept(post, response)
          resolve(true)
        })
      })
      // has its response although the gateway gives no answer
      expect(answered(await lambda.invoke({ n: ++n })).n).toBe(n)
      const isInTime = await Promise.race([posted, lambda.idle().then(() => false)])
      double.next.length = 0
      release()
      await lambda.idle()
      return isInTime && double.sum('attempts') === n
    })
    expect(double.posts.at(-1)?.headers['authorization']).toBe('Bearer secret')
    await lambda.shutdown()
    expect(lastWords(lambda)).toMatchObject({ reason: 'spindown', unknown: 0, dropped: {} })
  })

  test('sends many bundles in one post, once the gateway is back, or at the end', async () => {
    const double = await gateway()
    double.answer = (_, response) => respond(response, 503, {})
    const lambda = await start('plain', { ZIBRATO_URL: double.url, ZIBRATO_EXTENSION_BUDGET: '50ms' })
    for (let n = 1; n <= 6; n++) expect(answered(await lambda.invoke({ n })).n).toBe(n)
    await lambda.idle()
    double.answer = accept
    const before = double.posts.length
    await lambda.shutdown()
    // what it was told of, it had answered for
    expect(double.sum('attempts', double.posts.slice(before))).toBe(6)
    expect(double.posts.length).toBeLessThan(before + 6)
    expect(lastWords(lambda)).toMatchObject({ unknown: 0, dropped: {} })
  })

  test('gets what a function recorded last, as that is told when it is shut down', async () => {
    const double = await gateway()
    const lambda = await start('callback', { ZIBRATO_URL: double.url })
    // recorded after the response
    answered(await lambda.invoke({ n: 1, lateMs: 20 }))
    await lambda.shutdown()
    expect(double.sum('attempts')).toBe(2)
  })

  test('tells in the log what a gateway refused', async () => {
    const double = await gateway()
    double.answer = (_, response) => respond(response, 401, { error: { code: 'unauthorized' } })
    const lambda = await start('plain', { ZIBRATO_URL: double.url, ZIBRATO_TOKEN: 'wrong-secret' })
    for (let n = 1; n <= 3; n++) expect(answered(await lambda.invoke({ n })).n).toBe(n)
    await lambda.shutdown()
    expect(lastWords(lambda).dropped['refused']).toBeGreaterThan(2)
    expect(lambda.output).toContain('answered 401')
    expect(lambda.output).not.toContain('wrong-secret')
  })

  test('tells a gateway, once it takes something again, of the frames that it refused', async () => {
    const double = await gateway()
    const lambda = await start('plain', { ZIBRATO_URL: double.url })
    await warm(lambda)
    double.answer = (_, response) => respond(response, 401, { error: { code: 'unauthorized' } })
    for (let n = 1; n <= 3; n++) answered(await lambda.invoke({ n }))
    await lambda.idle()
    expect(double.sum('zibrato.dropped')).toBe(0)
    double.answer = accept
    answered(await lambda.invoke({ n: 4 }))
    await lambda.shutdown()
    const { refused } = lastWords(lambda).dropped
    expect(refused).toBeGreaterThan(2)
    expect(double.sum('zibrato.dropped')).toBe(refused)
    const told = double.posts.flatMap(({ frames }) => frames.flatMap(({ entries }) => entries))
    const { series } = told.find((entry) => entry.series.name === 'zibrato.dropped') ?? {}
    // the function's name, as the emulator has it
    expect(series).toMatchObject({ source: 'lambda', tags: { reason: 'refused' } })
  })

  test('does not hold up a function that is not instrumented, and sends for it with the next invocation', async () => {
    const double = await gateway()
    const lambda = await start('unused', { ZIBRATO_URL: double.url }, { handler: 'uninstrumented.handler' })
    answered(await lambda.invoke({ n: 1, flush: true }))
    await lambda.idle()
    answered(await lambda.invoke({ n: 2 }))
    await lambda.idle()
    expect(double.sum('attempts')).toBe(1)
    await lambda.shutdown()
    // what was not flushed is, at the end
    expect(double.sum('attempts')).toBe(2)
  })

  test.each([
    ['crashes', { exit: true }, 'failure', 120_000],
    ['times out', { hang: true }, 'timeout', 2_500],
  ])('sends what there is when the function %s', async (_, event, reason, timeoutMs) => {
    const double = await gateway()
    const env = { ZIBRATO_URL: double.url, ZIBRATO_EXTENSION_BUDGET: '1ms', BUDGET: '60s' }
    const lambda = await start('plain', env, { timeoutMs })
    await until(async () => (await lambda.invoke({ n: 1 })).error === undefined)
    expect((await lambda.invoke(event)).error?.errorType).toBe(`Sandbox.${reason}`)
    expect(double.sum('attempts')).toBeGreaterThan(0)
    expect(lastWords(lambda).reason).toBe(reason)
    // a new environment
    await until(async () => (await lambda.invoke({ n: 2 })).error === undefined)
    expect(lambda.coldStarts).toBeGreaterThanOrEqual(2)
  })

  test('does not wait for a handler that is not instrumented beside one that is', async () => {
    const double = await gateway()
    const lambda = await start('bare', { ZIBRATO_URL: double.url })
    for (let n = 1; n <= 3; n++) {
      answered(await lambda.invoke({ n }))
      await lambda.idle()
    }
    await lambda.shutdown()
    expect(double.sum('attempts')).toBe(3)
  })

  test('leaves it to the function when its port is taken, when it is off, and when it has died', async () => {
    const double = await gateway()
    const other = createServer((socket) => socket.on('error', () => {}).end('SMTP ready\r\n'))
    const port = await new Promise<number>((resolve) => {
      other.listen(0, '127.0.0.1', () => resolve((other.address() as { port: number }).port))
    })
    onTestFinished(() => void other.close())
    const env = { ZIBRATO_URL: double.url, BUDGET: '60s' }
    const taken = await start('plain', { ...env, ZIBRATO_EXTENSION_PORT: String(port) })
    answered(await taken.invoke({ n: 1 }))
    await taken.idle()
    expect(double.sum('attempts')).toBe(1)
    expect(taken.output).toContain(`port ${port} is taken`)

    const off = await start('plain', { ...env, ZIBRATO_EXTENSION_PORT: 'off' })
    answered(await off.invoke({ n: 1 }))
    await off.idle()
    expect(double.sum('attempts')).toBe(2)

    const died = await start('plain', env)
    await warm(died)
    died.extension?.kill('SIGKILL')
    await until(() => died.extension === undefined)
    for (let n = 1; n <= 2; n++) answered(await died.invoke({ n }))
    await died.idle()
    expect(double.sum('attempts')).toBe(4)
  })

  test('runs from the layer that one command makes', async () => {
    const double = await gateway()
    await using ground = new Playground()
    const command = ground.start(process.execPath, [BIN, '--layer', 'layer.zip'])
    expect(await command.ended, command.stderr).toBe(0)
    const opt = mkdtempSync(join(tmpdir(), 'zibrato-opt-'))
    onTestFinished(() => rmSync(opt, { recursive: true, force: true }))
    const zip = readFileSync(join(ground.folder, 'layer.zip'))
    for (const [name, bytes] of Object.entries(unzipSync(zip))) {
      mkdirSync(dirname(join(opt, name)), { recursive: true })
      writeFileSync(join(opt, name), bytes, { mode: modeOf(zip, name) })
    }
    const lambda = await start(
      'plain',
      { ZIBRATO_URL: double.url },
      { extension: [join(opt, 'extensions/zibrato-lambda-extension')] },
    )
    for (let n = 1; n <= 5; n++) answered(await lambda.invoke({ n }))
    await lambda.shutdown()
    expect(double.sum('attempts')).toBe(5)
    expect(lastWords(lambda).sent).toBeGreaterThan(0)
  })

  test.each([
    [['--help'], 0, /^Usage: zibrato-lambda-extension/],
    [['--version'], 0, /^\d+\.\d+\.\d+\n$/],
    [[], 2, /^zibrato-lambda-extension: Lambda starts it.*--layer FILE\n$/],
    [['--port', '1'], 2, /^zibrato-lambda-extension: Unknown option '--port'/],
    [['--layer', '/nowhere/at/all.zip'], 1, /^zibrato-lambda-extension: .*ENOENT/],
  ])('answers %j with code %d', async (args, code, says) => {
    await using ground = new Playground()
    const program = ground.start(process.execPath, [BIN, ...args])
    expect(await program.ended).toBe(code)
    expect(program.stdout + program.stderr).toMatch(says)
  })

  test.each([
    [{ ZIBRATO_EXTENSION_PORT: 'many' }, 2, /port NaN is none/],
    [{ ZIBRATO_EXTENSION_BUDGET: 'soon' }, 2, /duration "soon" is none/],
    [{}, 1, /register failed: .*ECONNREFUSED/],
  ])('says what is wrong with %j', async (env, code, says) => {
    await using ground = new Playground()
    const api = `127.0.0.1:${await freePort()}`
    const program = ground.start(process.execPath, [BIN], {
      AWS_LAMBDA_RUNTIME_API: api,
      ZIBRATO_EXTENSION_PORT: String(await freePort()),
      ...env,
    })
    expect(await program.ended).toBe(code)
    expect(program.stderr).toMatch(says)
  })
})

const BIN = join(DIST, 'bin/zibrato-lambda-extension.js')

/** Permissions of a file in a zip: the high half of the external attributes in its central directory. */
function modeOf(zip: Buffer, name: string): number {
  for (let at = zip.indexOf('PK\x01\x02'); at >= 0; at = zip.indexOf('PK\x01\x02', at + 4)) {
    const length = zip.readUInt16LE(at + 28)
    if (zip.toString('utf8', at + 46, at + 46 + length) === name) return zip.readUInt16LE(at + 40) & 0o777
  }
  throw new Error(`${name} is not in the zip`)
}
