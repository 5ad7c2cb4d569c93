// A job that runs and ends: how long each step took and whether it worked, what it did, and when it last went well.
//
//   npx zibrato up --flush 1s
//   node examples/job.mjs
import { setTimeout as wait } from 'node:timers/promises'
import { Zibrato } from 'zibrato'

const z = new Zibrato({ source: 'nightly' })
const step = z.timer('job.step')

// `outcome` adds a tag: ok, or error when the function throws, which it still does
const load = step.with({ step: 'load' }).wrap(async () => wait(20, ['ann', 'bob', 'ann']), { outcome: true })
const store = step.with({ step: 'store' }).wrap(async (users) => wait(10, users.length), { outcome: true })

try {
  const users = await load()
  z.counter('job.rows').inc(await store(users))
  const seen = z.unique('job.users')
  for (const user of users) seen.add(user)
  z.gauge('job.succeeded_at').set(Date.now() / 1000)
} finally {
  // a program that ends by itself would do without, one that calls process.exit() would not
  await z.close()
}
