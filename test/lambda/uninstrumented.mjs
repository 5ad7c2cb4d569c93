// A function that counts, and flushes when it likes; CLIENT is where zibrato/lambda is built.
const { Zibrato } = await import(process.env.CLIENT)

const z = new Zibrato()

export const handler = async (event) => {
  z.counter('attempts').inc()
  if (event.flush) await z.flush(60_000)
  return { n: event.n, stats: z.stats() }
}
