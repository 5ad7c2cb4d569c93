import { openState } from '../../../../backends/state/open.ts'
import type { State } from '../../../../backends/state/state.ts'
import type { StateOptions, StateSubject } from '../../../contract/state.ts'

/** How the suite gets at states of a Redis: each with a prefix of its own. */
export function redisSubject(url: () => string): StateSubject {
  const urls = new WeakMap<State, string>()
  let spaces = 0
  const open = (text: string, { maxOutboxBytes, onDropped }: StateOptions = {}): State => {
    const state = openState(text, {
      ...(maxOutboxBytes === undefined ? {} : { maxOutboxBytes }),
      ...(onDropped === undefined ? {} : { onDropped }),
    })
    urls.set(state, text)
    return state
  }
  return {
    isShared: true,
    create: (options) => open(`${url()}${url().includes('?') ? '&' : '?'}prefix=t${spaces++}:`, options),
    reopen: (state, options) => open(urls.get(state) as string, options),
  }
}
