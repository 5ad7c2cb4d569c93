// What runs in the emulator: a handler that counts in ten series, bare and instrumented.
const { Zibrato, instrument } = await import(process.env.CLIENT)

const z = new Zibrato()
const counters = Array.from({ length: 10 }, (_, id) => z.counter(`count.${id}`))

export const bare = async () => 'done'

export const instrumented = instrument(z, async () => {
  for (const counter of counters) counter.inc()
  return 'done'
})
