import { expect, test } from 'vitest'
import type { Extension } from '../../../client/transport/extension.ts'
import { LambdaTransport } from '../../../client/transport/lambda.ts'

test('the extension is told that an invocation is over also when no time is left to send', async () => {
  const ended: string[] = []
  const extension: Pick<Extension, 'isThere' | 'end'> = {
    isThere: () => Promise.resolve(true),
    end: (requestId) => {
      ended.push(requestId)
      return Promise.resolve()
    },
  }
  const transport = new LambdaTransport({
    url: 'https://metrics.example.com',
    extension: extension as Extension,
    warn: () => {},
  })
  await transport.end('one', 0, () => Promise.resolve())
  expect(ended).toEqual(['one'])
  await transport.close(0)
})
