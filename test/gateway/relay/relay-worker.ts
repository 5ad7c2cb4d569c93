import worker, { Relay, type RelayEnv } from '../../../gateway/edge.ts'
import type { ObjectState, RequestContext } from '../../../gateway/relay/runtime.ts'

// how far the objects' clock is ahead, and what stands before their names
let aheadMs = 0
let prefix = ''

/** The relay's object, with a clock that can be turned and alarms that can be set off. */
export class TestRelay extends Relay {
  constructor(state: ObjectState, env: RelayEnv) {
    super(turned(state), env, { now: () => Date.now() + aheadMs })
  }

  override async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url)
    if (!pathname.startsWith('/test/')) return super.fetch(request)
    const times = Number(pathname.slice('/test/alarm/'.length))
    await Promise.all(Array.from({ length: times }, () => this.alarm()))
    return Response.json(this.figures())
  }
}

/** With alarms that go off when the turned clock says so. */
function turned(state: ObjectState): ObjectState {
  const { storage } = state
  return {
    blockConcurrencyWhile: (work) => state.blockConcurrencyWhile(work),
    abort: (reason) => state.abort(reason),
    storage: {
      sql: storage.sql,
      transactionSync: (work) => storage.transactionSync(work),
      sync: () => storage.sync(),
      getAlarm: async () => {
        const timeMs = await storage.getAlarm()
        return timeMs === null ? null : timeMs + aheadMs
      },
      setAlarm: (timeMs) => storage.setAlarm(timeMs - aheadMs),
    },
  }
}

export default {
  /**
   * `/test/alarm/N`: all objects' alarms, N times at once; `/test/ahead/MS`: turns the clock; `/test/fresh/NAME`: other objects
   * from here on. Everything else is the relay's.
   */
  async fetch(request: Request, bindings: RelayEnv, context: RequestContext): Promise<Response> {
    const { RELAY } = bindings
    const env = {
      ...bindings,
      RELAY: {
        idFromName: (name: string) => RELAY.idFromName(prefix + name),
        get: (...args: Parameters<typeof RELAY.get>) => RELAY.get(...args),
      },
    }
    const [, test, command, value = ''] = new URL(request.url).pathname.split('/')
    if (test !== 'test') return worker.fetch(request, env, context)
    if (command === 'ahead') aheadMs += Number(value)
    if (command === 'fresh') prefix = value
    if (command !== 'alarm') return Response.json(null)
    const figures = Array.from({ length: Number(env.RELAY_GROUPS) }, async (_, group) => {
      const object = env.RELAY.get(env.RELAY.idFromName(`group-${group}`))
      return (await object.fetch(`https://relay/test/alarm/${value}`)).json()
    })
    return Response.json(await Promise.all(figures))
  },
}
