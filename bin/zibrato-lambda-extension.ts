#!/usr/bin/env node
import { copyFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { durationMs } from '../client/duration.ts'
import { UsageError } from '../client/errors.ts'
import { EXTENSION_PORT } from '../client/transport/extension.ts'
import { VERSION } from '../client/version.ts'
import { DEFAULT_SOURCE } from '../client/wire/series.ts'
import { ExtensionsApi } from '../gateway/lambda/events.ts'
import { LambdaExtension, NAME } from '../gateway/lambda/extension.ts'
import { Forwarder } from '../gateway/lambda/forwarder.ts'
import { Intake } from '../gateway/lambda/intake.ts'
import { log } from '../gateway/lambda/log.ts'
import { checkPort } from '../gateway/listen/address.ts'

const USAGE = `Usage: ${NAME} [options]

Takes what Lambda functions measured on their own machine, and sends it on after they have answered. Lambda starts it, without
options, from a layer.

Options:
  --layer <file>  write that layer, a zip file, and end
  --version       say which version this is
  --help          say this

Example:
  # make the layer, then publish it
  ${NAME} --layer layer.zip
  aws lambda publish-layer-version --layer-name zibrato --zip-file fileb://layer.zip
`

// nothing but what it needs is loaded: a cold start waits for it
process.exit(await main(process.env))

async function main(env: Readonly<Record<string, string | undefined>>): Promise<number> {
  try {
    const { values } = parseArgs({
      options: { layer: { type: 'string' }, version: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    })
    if (values.help === true) process.stdout.write(USAGE)
    else if (values.version === true) process.stdout.write(`${VERSION}\n`)
    else if (values.layer !== undefined) writeLayer(values.layer)
    else await run(env)
    return 0
  } catch (error) {
    const isUsage = error instanceof UsageError || (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS')
    process.stderr.write(`${NAME}: ${(error as Error).message.replace(`${NAME}: `, '')}\n`)
    return isUsage === true ? 2 : 1
  }
}

function writeLayer(file: string): void {
  copyFileSync(fileURLToPath(new URL('../zibrato-lambda-extension.zip', import.meta.url)), file)
  process.stdout.write(`${file}: publish it with aws lambda publish-layer-version --zip-file fileb://${file}\n`)
}

async function run(env: Readonly<Record<string, string | undefined>>): Promise<void> {
  const address = env['AWS_LAMBDA_RUNTIME_API']
  if (address === undefined) {
    throw new UsageError('Lambda starts it, with AWS_LAMBDA_RUNTIME_API; write the layer for it with --layer FILE')
  }
  const said = env['ZIBRATO_EXTENSION_PORT']
  const port = said === 'off' ? undefined : Number(said ?? EXTENSION_PORT)
  if (port !== undefined) checkPort('ZIBRATO_EXTENSION_PORT', port)
  const source = env['ZIBRATO_SOURCE'] ?? env['AWS_LAMBDA_FUNCTION_NAME'] ?? DEFAULT_SOURCE
  const forwarder = new Forwarder({ log, source, level: env['ZIBRATO_LEVEL'] ?? 'info' })
  const extension = new LambdaExtension({
    api: new ExtensionsApi(address),
    intake: new Intake(forwarder),
    forwarder,
    port,
    budgetMs: durationMs(env['ZIBRATO_EXTENSION_BUDGET'] ?? 1_000),
    log,
  })
  await extension.run()
}
