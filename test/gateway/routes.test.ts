import { expect, test } from 'vitest'
import { startGateway } from '../../gateway/node.ts'
import { FakeSink } from './fake-sink.ts'

test('paths that the process adds are answered to GET and HEAD, and nothing else', async () => {
  const gateway = await startGateway({
    port: 0,
    sink: new FakeSink(),
    tokens: [{ name: 'me', secret: 's3cret' }],
    routes: { '/more': (request) => new Response(`asked for ${request.headers.get('accept')}`) },
  })
  try {
    const ask = (method: string): Promise<Response> =>
      fetch(`${gateway.url}/more`, { method, headers: { accept: 'text/x' } })
    expect(await (await ask('GET')).text()).toBe('asked for text/x')
    expect((await ask('HEAD')).status).toBe(200)
    const refused = await ask('POST')
    expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
  } finally {
    await gateway.close()
  }
})
