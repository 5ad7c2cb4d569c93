// flushes window after window, from the one of the given number on, and reports each that was taken, until it is killed
import { writeSync } from 'node:fs'
import { openBackend } from '../../backends/open.ts'
import { manyRollups, sampleWindow } from '../../backends/samples.ts'

const never = new AbortController().signal
const rollups = manyRollups(5000)
const backend = await openBackend(`file:${process.argv[2]}`)
await backend.connect?.()
for (let index = Number(process.argv[3]); ; index++) {
  await backend.flush(sampleWindow(rollups, index), never)
  writeSync(1, `${index}\n`)
}
