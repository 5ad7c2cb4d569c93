import { expect, test } from 'vitest'
import { Playground } from '../flow/processes.ts'
import { freePair } from '../free-port.ts'
import { logged, start } from './cli.ts'

test('a worker and a gateway whose broker does not answer say so, with the way out, and when it answers', async () => {
  await using ground = new Playground()
  const port = await freePair()
  const broker = `tcp://127.0.0.1:${port}`
  const worker = start(ground, ['worker', '--broker', broker, '--state', 'file:state'])
  const gateway = start(ground, ['gateway', '--broker', broker, '--http', '0'])
  const away = { level: 'warn', brokers: [broker], answering: 0 }
  const ofWorker = 'brokers do not answer: nothing comes from there; start them, or correct --broker'
  const ofGateway = 'brokers do not answer: what is taken waits, and then is refused; start it, or correct --broker'
  expect(await logged(worker, ofWorker)).toMatchObject(away)
  expect(await logged(gateway, ofGateway)).toMatchObject(away)
  await ground.zibrato('broker', '--port', String(port))
  for (const program of [worker, gateway]) {
    expect(await logged(program, 'brokers answer')).toMatchObject({ level: 'info', brokers: [broker] })
    expect(await program.stop(), program.stderr).toBe(0)
  }
})
