// run with a standard output that nobody reads: reports on standard error how flushes end
import { openBackend } from '../../backends/open.ts'
import { rollupsOfEveryType, sampleWindow } from '../../backends/samples.ts'

const backend = await openBackend('console:')
for (let index = 0; index < 20; index++) {
  await backend
    .flush(sampleWindow(rollupsOfEveryType(), index), new AbortController().signal)
    .catch((error: unknown) => console.error(String(error)))
}
await backend.close?.()
