import { describe, expect, it } from 'vitest'
import { MemoryState } from '../../../backends/state/memory.ts'
import { stateContract, windowOf } from '../../contract/state.ts'

stateContract('memory', {
  create: (options) => new MemoryState(options),
  // what it holds ends with the process, so the nearest thing to another one is itself
  reopen: (state) => state,
})

describe('memory state', () => {
  it('says that it does not outlive the process', () => {
    expect(new MemoryState()).toMatchObject({ name: 'memory:', durable: false, dropped: 0 })
  })

  it('counts the windows it dropped', async () => {
    const state = new MemoryState({ maxOutboxBytes: 1000 })
    await state.open({ group: 'g', backends: ['a'] })
    for (let end = 1; end <= 9; end++) await state.commit([windowOf(0, end, { outbox: new Uint8Array(700) })])
    expect(state.dropped).toBe(8)
  })
})
