import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { tsImport } from 'tsx/esm/api'
import { DIST } from '../tools/dist.js'
import { startGateway } from '../tools/posts.js'

const WARM_UP = 30
const EXTENSION = [process.execPath, join(DIST, 'bin/zibrato-lambda-extension.js')]

/** @returns {Promise<number>} a port that is free, as the function has to know it before the extension listens */
async function freePort() {
  const server = createServer()
  await new Promise((listening) => server.listen(0, '127.0.0.1', () => listening(undefined)))
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  await new Promise((closed) => server.close(closed))
  return port
}

/** @param {string} handler @param {readonly string[] | undefined} extension @param {number} seconds */
async function measure(handler, extension, seconds) {
  const { LambdaEmulator } = await tsImport('../../../examples/lambda/emulator.ts', import.meta.url)
  const gateway = await startGateway()
  const lambda = await LambdaEmulator.start({
    folder: resolve(import.meta.dirname, '../peers'),
    handler: `lambda-function.${handler}`,
    extension,
    env: {
      CLIENT: pathToFileURL(join(DIST, 'client/lambda.js')).href,
      ZIBRATO_URL: `http://127.0.0.1:${gateway.ready.port}`,
      ZIBRATO_EXTENSION_PORT: String(await freePort()),
    },
  })
  const once = async () => {
    const started = performance.now()
    const { ms, error } = await lambda.invoke({})
    if (error !== undefined) throw new Error(`bench: ${error.errorMessage}\n${lambda.output}`)
    await lambda.idle()
    return { response: ms, busy: performance.now() - started }
  }
  for (let index = 0; index < WARM_UP; index++) await once()
  const runs = []
  for (const end = performance.now() + seconds * 3_000; performance.now() < end;) runs.push(await once())
  await lambda.shutdown()
  await lambda.kill()
  // so that nothing is measured that did not take place
  if (extension !== undefined && !/"sent":[1-9]/.test(lambda.output)) {
    throw new Error(`bench: the extension had nothing to send\n${lambda.output}`)
  }
  await gateway.stop()
  const quantile = (/** @type {'response' | 'busy'} */ figure, /** @type {number} */ q) =>
    runs.map((run) => run[figure]).sort((left, right) => left - right)[Math.floor(runs.length * q)]
  return { response: quantile('response', 0.5), p99: quantile('response', 0.99), busy: quantile('busy', 0.5) }
}

/** @type {import('../case.js').Case} */
export default {
  name: 'lambda',
  title: 'A Lambda function',
  method: `A function under the emulator of \`examples/lambda/\`, invoked again and again and frozen in between, that counts in ten
series, and as a peer one that does nothing. \`response\` is until its caller has the response, of which the median and the 99th percentile are
shown; \`busy\` until function and extension are done, which is what is paid for. The gateway is on the same machine: add the time that one
elsewhere takes to answer, to \`response\` of a function that sends by itself, and to \`busy\` of both.`,
  contenders: {
    bare: ({ seconds }) => measure('bare', undefined, seconds),
    'sends by itself': ({ seconds }) => measure('instrumented', undefined, seconds),
    'through the extension': ({ seconds }) => measure('instrumented', EXTENSION, seconds),
  },
  rows: ['sends by itself', 'through the extension'].flatMap((contender) =>
    ['response', 'p99', 'busy'].map((figure) => ({
      measured: [contender, figure],
      peer: ['bare', figure],
      unit: 'ms',
    })),
  ),
}
