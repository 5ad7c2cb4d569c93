import { fileURLToPath } from 'node:url'
import { LambdaEmulator } from './emulator.ts'

const INVOCATIONS = 5
const EXTENSION = fileURLToPath(new URL('../../dist/bin/zibrato-lambda-extension.js', import.meta.url))
const token = process.env['ZIBRATO_TOKEN']
const url = process.argv[2] ?? process.env['ZIBRATO_URL'] ?? 'http://127.0.0.1:8080'

const answer = await fetch(new URL('/readyz', url)).catch(() => undefined)
if (answer?.status !== 200) {
  console.error(`There is no gateway at ${url}. Start one with: npm start`)
  process.exit(1)
}

for (const extension of [undefined, [process.execPath, EXTENSION]]) {
  console.log(
    extension === undefined ? 'The function sends by itself:' : 'It hands over to the extension, which sends:',
  )
  await using lambda = await LambdaEmulator.start({
    folder: import.meta.dirname,
    handler: 'orders.handler',
    extension,
    env: { ZIBRATO_URL: url, ...(token === undefined ? {} : { ZIBRATO_TOKEN: token }) },
  })
  for (let total = 1; total <= INVOCATIONS; total++) {
    const { body, error, ms } = await lambda.invoke({ item: 'book', total })
    console.log(`  ${body} ${error?.errorMessage ?? ''} after ${ms.toFixed(1)} ms`)
    await lambda.idle()
    // frozen for a while, as functions are most of the time
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  await lambda.shutdown()
  if (lambda.output !== '') console.log(lambda.output.replaceAll(/^/gm, '  '))
}
console.log(
  `${2 * INVOCATIONS} orders are on their way: zibrato shows them as orders, source lambda, within its interval.`,
)
