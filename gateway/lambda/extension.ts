import type { ExtensionsApi, LifecycleEvent } from './events.ts'
import type { Forwarder } from './forwarder.ts'
import type { Intake } from './intake.ts'
import type { Log } from './log.ts'

/** The name of the file in `/opt/extensions`, by which Lambda knows an extension. */
export const NAME = 'zibrato-lambda-extension'

/** What is left of an invocation's time when the extension goes on, whether it is done or not. */
const INVOKE_MARGIN_MS = 100
/** And of the time to shut down, to say what became of everything. */
const SHUTDOWN_MARGIN_MS = 200

export interface ExtensionOptions {
  readonly api: Pick<ExtensionsApi, 'register' | 'next'>
  readonly intake: Pick<Intake, 'start' | 'end' | 'close'>
  readonly forwarder: Pick<Forwarder, 'send' | 'close' | 'stats'>
  /** Undefined: functions send by themselves. */
  readonly port: number | undefined
  /** How long it holds an environment after an invocation, at the most, to send. */
  readonly budgetMs: number
  readonly log: Log
}

/**
 * The life of the extension beside a function: it takes bundles while invocations run, sends when one has ended and its caller
 * has the response, and only then lets Lambda freeze both.
 */
export class LambdaExtension {
  readonly #options: ExtensionOptions

  constructor(options: ExtensionOptions) {
    this.#options = options
  }

  /** Resolves when Lambda shuts the environment down. @throws ZibratoError when Lambda's API fails */
  async run(): Promise<void> {
    const { api, intake, port, log } = this.#options
    try {
      if (port !== undefined) await intake.start(port)
    } catch (error) {
      // the function then sends by itself; that it runs matters more
      log('error', `${(error as Error).message}; functions send by themselves`)
    }
    await api.register(NAME)
    for (;;) {
      const event = await api.next()
      if (event.eventType === 'SHUTDOWN') return this.stop(event.deadlineMs, event.shutdownReason)
      await this.#invoked(event)
    }
  }

  /** Sends what is left until the deadline, gives up the rest and tells how it all came out. */
  async stop(deadlineMs: number, reason: string): Promise<void> {
    const { forwarder, intake, log } = this.#options
    await forwarder.close(Math.max(0, deadlineMs - SHUTDOWN_MARGIN_MS - Date.now()))
    await intake.close()
    const { sent, replayed, unknown, dropped } = forwarder.stats()
    const lost = unknown > 0 || Object.keys(dropped).length > 0
    log(lost ? 'warn' : 'info', 'stopped', { reason, sent, replayed, unknown, dropped })
  }

  async #invoked({ requestId, deadlineMs }: Extract<LifecycleEvent, { eventType: 'INVOKE' }>): Promise<void> {
    const { intake, forwarder, budgetMs } = this.#options
    const leftMs = (): number => deadlineMs - INVOKE_MARGIN_MS - Date.now()
    // of earlier invocations, while this one runs
    void forwarder.send(Math.min(budgetMs, leftMs()))
    await intake.end(requestId, leftMs())
    await forwarder.send(Math.min(budgetMs, leftMs()))
  }
}
