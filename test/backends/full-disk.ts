// run with a limit on the size of files: the second of three windows does not fit
import { openBackend } from '../../backends/open.ts'
import { manyRollups, sampleRollup, sampleWindow } from '../../backends/samples.ts'

const never = new AbortController().signal
const backend = await openBackend(`file:${process.argv[2]}`)
const series = { type: 'counter', source: 'web', tags: {} } as const
await backend.connect?.()
await backend.flush(sampleWindow([sampleRollup({ ...series, name: 'first' }, [5])], 0), never)
await backend.flush(sampleWindow(manyRollups(10_000), 1), never).catch((error: Error) => console.log(error.message))
await backend.flush(sampleWindow([sampleRollup({ ...series, name: 'last' }, [5])], 2), never)
await backend.close?.()
