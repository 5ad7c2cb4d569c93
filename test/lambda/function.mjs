// The functions that tests run in the emulator; CLIENT is where zibrato/lambda is built.
const { Zibrato, instrument } = await import(process.env.CLIENT)

const z = new Zibrato({ waitingBytes: Number(process.env.WAITING_BYTES ?? 1_000_000) })
const attempts = z.counter('attempts')
const streamify = globalThis.awslambda.streamifyResponse

const counts = (event) => {
  attempts.inc(event.count ?? 1)
  if (event.body !== undefined) for (let n = 0; n < event.body; n++) z.counter('many', { tags: { n } }).inc()
  if (event.fail !== undefined) throw new TypeError(event.fail)
  return { n: event.n, stats: z.stats() }
}

/** What tests ask to be done, in each of the ways in which Lambda can be told. */
const answer = async (event) => {
  if (event.hang) await new Promise((resolve) => setTimeout(resolve, 1_000_000))
  if (event.exit) process.exit(1)
  return event.report ? { stats: z.stats() } : counts(event)
}

const options = { budget: process.env.BUDGET }

export const plain = instrument(z, answer, options)
export const bare = answer
export const quiet = instrument(z, answer, { metrics: false })

export const callback = instrument(z, (event, context, call) => {
  context.callbackWaitsForEmptyEventLoop = event.waits ?? true
  // outlives the response unless that waits for it
  const lateMs = event.lateMs ?? 0
  if (lateMs > 0) setTimeout(() => counts({ n: 'late' }), lateMs)
  void answer(event).then((result) => call(null, { ...result, waits: context.callbackWaitsForEmptyEventLoop }), call)
})

// calls back and returns a promise of nothing, as handlers do that were made async
export const both = instrument(z, async (event, _context, call) => {
  try {
    const result = counts(event)
    call(null, result)
  } catch (error) {
    call(error)
  }
})

export const legacy = instrument(z, (event, context) => {
  void answer(event).then(context.succeed, context.fail)
})

export const silent = instrument(z, (event) => {
  counts(event)
})

const writes = async (event, stream) => {
  for (const piece of event.pieces) {
    stream.write(piece)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  counts(event)
  stream.end()
}
export const streaming = streamify(instrument(z, async (event, stream, _context) => writes(event, stream), options))
export const streamed = instrument(
  z,
  streamify((event, stream, _context) => writes(event, stream)),
  options,
)
