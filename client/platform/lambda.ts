import { Client } from '../client.ts'
import { UsageError } from '../errors.ts'
import type { Platform, ZibratoOptions } from '../options.ts'
import { EXTENSION_PORT, Extension } from '../transport/extension.ts'
import { LambdaTransport } from '../transport/lambda.ts'
import { Zibrato as AnyZibrato } from '../zibrato.ts'
import { openTransport } from './open.ts'
import { ofProcess, started, withRegistry } from './process.ts'

/** The function's name says where something is measured, unless somebody knows better. */
const env = (name: string): string | undefined =>
  process.env[name] ?? (name === 'ZIBRATO_SOURCE' ? process.env['AWS_LAMBDA_FUNCTION_NAME'] : undefined)

const platform: Platform = {
  ...withRegistry(env),
  ...ofProcess,
  open: (options, defaults, warn) =>
    openTransport(options, defaults, warn, {
      env,
      defaultUrl: undefined,
      openHttp: (http) => new LambdaTransport({ ...http, extension: findExtension() }),
    }),
  // an invocation that waits for an empty event loop runs out of work each time; signals come only where there is an extension
  start: (client, options) => started(client, options, { outOfWork: false }),
}

/**
 * {@link AnyZibrato} in a Lambda function: nothing runs in the background, so `instrument` the handler, or `flush` before it
 * returns. What is recorded travels by HTTP, to `zibrato-lambda-extension` where that is there, else to the gateway.
 */
export class Zibrato<Level extends string = string> extends AnyZibrato<Level> {
  /** @throws UsageError naming the option that makes no sense */
  constructor(options: ZibratoOptions<Level> = {}) {
    super(new Client(options, platform))
  }
}

/** @throws UsageError for a port that is none */
function findExtension(): Extension | undefined {
  const { ZIBRATO_EXTENSION_PORT: text, AWS_LAMBDA_RUNTIME_API: lambda } = process.env
  // outside of Lambda nobody is to be asked
  if (text === 'off' || lambda === undefined) return undefined
  const port = text === undefined ? EXTENSION_PORT : Number(text)
  if (Number.isInteger(port) && port > 0 && port < 65_536) return new Extension(port)
  throw new UsageError(`Zibrato: ZIBRATO_EXTENSION_PORT ${JSON.stringify(text)} is no port; give one, or off`)
}
