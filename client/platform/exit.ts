import type { Closable } from '../options.ts'

const SIGNALS = ['SIGTERM', 'SIGINT'] as const

/** What is to be closed before the program ends, and by which handlers. */
interface Exit {
  /** Each with whether to close it when the program runs out of work, too. */
  readonly clients: Map<Closable, boolean>
  closing: boolean
  readonly beforeExit: () => void
  readonly onSignal: (signal: NodeJS.Signals) => void
}

// one for the program, also when it holds several copies of this package: they end it once, together
const KEY = Symbol.for('zibrato.exit')
const exit = ((globalThis as { [KEY]?: Exit })[KEY] ??= { clients: new Map(), closing: false, beforeExit, onSignal })

async function closeAll(): Promise<void> {
  await Promise.all([...exit.clients.keys()].map((client) => client.close()))
}

function beforeExit(): void {
  for (const [client, outOfWork] of exit.clients) if (outOfWork) void client.close()
}

function onSignal(signal: NodeJS.Signals): void {
  // any other listener decides itself whether and when the program ends; what was recorded so far goes out meanwhile
  const alone = process.listeners(signal).every((listener) => listener === exit.onSignal)
  if (!alone) {
    for (const client of exit.clients.keys()) void client.flush()
    return
  }
  // asked a second time: the program is to end now
  const closed = exit.closing ? Promise.resolve() : closeAll()
  exit.closing = true
  void closed.then(() => {
    for (const each of SIGNALS) process.off(each, exit.onSignal)
    process.kill(process.pid, signal)
  })
}

/**
 * Closes a client when the program runs out of work, and on SIGTERM and SIGINT, after which it ends by that signal. Where
 * the program has listeners of its own for the signal, they decide, and the client is only flushed.
 *
 * @param when.outOfWork whether running out of work means the end; default true
 * @returns forgets it again
 */
export function closeOnExit(client: Closable, when: { readonly outOfWork?: boolean } = {}): () => void {
  if (exit.clients.size === 0) {
    process.on('beforeExit', exit.beforeExit)
    for (const signal of SIGNALS) process.on(signal, exit.onSignal)
  }
  exit.clients.set(client, when.outOfWork ?? true)
  return () => {
    exit.clients.delete(client)
    // while it ends, the signal's handler still has to end it
    if (exit.clients.size > 0 || exit.closing) return
    process.off('beforeExit', exit.beforeExit)
    for (const signal of SIGNALS) process.off(signal, exit.onSignal)
  }
}
