// What runs a handler in Lambda, as small as it goes: asks the Runtime API for invocations, calls the handler as Node's
// runtime does (async, with a callback, or streaming), and posts what comes of it.
import { existsSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const { AWS_LAMBDA_RUNTIME_API, LAMBDA_TASK_ROOT = '.', _HANDLER = 'index.handler' } = process.env
const BASE = `http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime`
const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming')
const agent = new Agent({ keepAlive: true })

globalThis.awslambda = {
  streamifyResponse(handler) {
    handler[STREAMING] = 'response'
    return handler
  },
}

// what is done when nothing is left to be done: one thing at a time
let whenIdle = () => {}
process.on('beforeExit', () => whenIdle())

let failing = (error) => postError('init/error', error)
process.on('uncaughtException', (error) => void failing(error).then(() => process.exit(129)))
process.on('unhandledRejection', (error) => void failing(error).then(() => process.exit(128)))

const handler = await load()
void next()

async function load() {
  const at = _HANDLER.lastIndexOf('.')
  const file = ['.mjs', '.js', '.cjs']
    .map((end) => join(LAMBDA_TASK_ROOT, _HANDLER.slice(0, at) + end))
    .find(existsSync)
  if (file === undefined) throw new Error(`there is no module for the handler ${_HANDLER}`)
  return (await import(pathToFileURL(file).href))[_HANDLER.slice(at + 1)]
}

async function next() {
  const { headers, text } = await ask('GET', 'invocation/next')
  const id = headers['lambda-runtime-aws-request-id']
  const deadline = Number(headers['lambda-runtime-deadline-ms'])
  failing = (error) => postError(`invocation/${id}/error`, error)
  const context = {
    awsRequestId: id,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    getRemainingTimeInMillis: () => deadline - Date.now(),
  }
  if (handler[STREAMING] === 'response') await stream(id, JSON.parse(text), context)
  else call(id, JSON.parse(text), context)
}

/** Calls a handler that returns a promise, calls back, or does neither. */
function call(id, event, context) {
  let waits = true
  let told = false
  const tell = (path, post) => {
    whenIdle = () => {}
    if (told) return
    told = true
    void post(path).then(() => setImmediate(() => void next()))
  }
  const succeed = (result) =>
    tell(`invocation/${id}/response`, (path) => ask('POST', path, JSON.stringify(result ?? null)))
  const fail = (error) => tell(`invocation/${id}/error`, (path) => postError(path, error))
  Object.defineProperty(context, 'callbackWaitsForEmptyEventLoop', {
    get: () => waits,
    set(value) {
      waits = value
    },
  })
  // whatever is called first counts, and nothing after it
  let isCalled = false
  const first =
    (method) =>
    (...args) => {
      if (isCalled) return
      isCalled = true
      method(...args)
    }
  context.done = first((error, result) => (error === undefined || error === null ? succeed(result) : fail(error)))
  context.succeed = first(succeed)
  context.fail = first(fail)
  const callback = first((error, result) => {
    if (error !== undefined && error !== null) fail(error)
    else if (waits) whenIdle = () => succeed(result)
    else succeed(result)
  })
  const isAsync = handler.constructor.name === 'AsyncFunction'
  whenIdle = () => (isAsync ? fail(new Error('the handler never ends')) : succeed(null))
  try {
    const result = handler(event, context, callback)
    if (typeof result?.then === 'function') result.then(context.succeed, context.fail).catch(context.fail)
  } catch (error) {
    callback(error)
  }
}

/** Calls a handler that writes its response. */
async function stream(id, event, context) {
  const response = request(`${BASE}/invocation/${id}/response`, {
    method: 'POST',
    agent,
    headers: { 'lambda-runtime-function-response-mode': 'streaming', 'transfer-encoding': 'chunked' },
  })
  const answered = new Promise((resolve, reject) => response.on('response', resolve).on('error', reject))
  try {
    await handler(event, response, context)
    if (!response.writableEnded) throw new Error('the response stream is not finished')
  } catch (error) {
    response.addTrailers({ 'lambda-runtime-function-error-type': String(error?.name ?? error) })
    response.end()
  }
  ;(await answered).resume()
  setImmediate(() => void next())
}

function postError(path, error) {
  const body = { errorType: error?.name ?? typeof error, errorMessage: String(error?.message ?? error) }
  return ask('POST', path, JSON.stringify(body))
}

function ask(method, path, body) {
  return new Promise((resolve, reject) => {
    const asked = request(`${BASE}/${path}`, { method, agent }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk) => (text += chunk))
      response.on('end', () => resolve({ headers: response.headers, text }))
    })
    asked.on('error', reject).end(body)
  })
}
