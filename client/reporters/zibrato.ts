import type { Recorder } from '../registry/recorder.ts'
import type { SealedFrame, Transport } from '../transport/transport.ts'
import { ScheduledReporter, type ScheduledOptions } from './scheduled.ts'

/** A client, as far as this reporter needs one. */
interface Publisher {
  /** @internal */
  readonly transport: Transport
  flush(): Promise<void>
}

export interface ZibratoReporterOptions extends ScheduledOptions {
  /** Through whose connection numbers go. It stays yours: close it after this reporter was stopped. */
  readonly client: Publisher
}

/**
 * Publishes what is recorded in a registry through a client's connection: exactly what was added since the last report, as
 * frames, so that percentiles, rates and distinct members come out right wherever they are merged. It is for registries that
 * come and go; one that lives as long as the program is better given to the client itself: `new Zibrato({ registry })`.
 */
export class ZibratoReporter extends ScheduledReporter {
  readonly #client: Publisher
  #recorder: Recorder | undefined

  /** @throws UsageError naming the option that makes no sense */
  constructor(options: ZibratoReporterOptions) {
    super(options)
    this.#client = options.client
  }

  report(): void {
    const frames = this.#recorder?.seal() ?? []
    if (frames.length > 0) this.#client.transport.send(frames)
  }

  /** @throws UsageError when a client publishes the registry already */
  protected override opened(): void {
    const { transport } = this.#client
    this.#recorder = this.registry.publishTo({
      carries: transport.carries,
      onFrame: (frame: SealedFrame) => transport.send([frame]),
      warn: () => {},
      seal: () => this.report(),
    })
  }

  protected override async closed(): Promise<void> {
    this.registry.release()
    this.#recorder = undefined
    await this.#client.flush()
  }
}
