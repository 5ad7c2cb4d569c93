import { InvalidFrameError, UsageError } from '../errors.ts'
import { tell } from '../platform/warnings.ts'
import { Registry, type RegistryOptions } from '../registry/registry.ts'
import type { Reporter } from '../reporters/reporter.ts'
import { Reader, Writer } from '../wire/bytes.ts'
import { eachFrame } from '../wire/bundle.ts'
import { type Frame, decodeFrame, readHeader } from '../wire/frame.ts'
import { ReplayFilter } from '../wire/replay-filter.ts'
import { SHARDS } from '../wire/series.ts'
import { Address } from './address.ts'
import { Inlet } from './inlet.ts'

/** How often publishers that were not heard of for long are forgotten. */
const FORGET_MS = 60_000

/** What `new RegistryAggregator(...)` takes. */
export interface AggregatorOptions<Level extends string = string> extends RegistryOptions<Level> {
  /** Where processes connect: `ipc://path`. Default `ZIBRATO_AGGREGATOR`, else a file in a directory of this user. */
  readonly address?: string | undefined
  /** Started and stopped with it, and given it as their registry. */
  readonly reporters?: readonly Reporter[] | undefined
}

/** What became of what processes sent, since the start. */
export interface AggregatorFigures {
  /** Processes and threads that are connected. */
  readonly connections: number
  /** Frames added. */
  readonly merged: number
  /** Frames that came once more, and were not. */
  readonly replays: number
  /** What is no frame. */
  readonly invalid: number
  /** Entries of a type that something else of that name has already, and frames of more publishers than can be told apart. */
  readonly refused: number
}

/**
 * A registry of what the processes of a program measure together, with what is recorded on it itself. Reporters take it as
 * they take any registry.
 *
 * ```ts
 * await using aggregator = await new RegistryAggregator({ reporters: [new HttpReporter(8889)] }).start()
 * cluster.fork() // in there: new DistributedRegistry()
 * ```
 *
 * It listens, so it keeps its program alive until `close`.
 */
export class RegistryAggregator<Level extends string = string> extends Registry<Level> implements AsyncDisposable {
  readonly #address: Address
  readonly #inlet: Inlet
  readonly #reporters: readonly Reporter[]
  #isStarted = false
  #closing: Promise<void> | undefined
  readonly #filters: ReplayFilter[] = Array.from({ length: SHARDS }, () => new ReplayFilter())
  #merged = 0
  #replays = 0
  #invalid = 0
  #refused = 0
  #forgotMs = 0

  /** @throws UsageError naming the option that makes no sense */
  constructor({ address, reporters = [], ...options }: AggregatorOptions<Level> = {}) {
    super(options)
    const warn = tell(options.onWarning)
    this.#address = new Address(address)
    this.#inlet = new Inlet({
      path: this.#address.path,
      onBundle: (bundle) => this.#take(bundle),
      onStrange: () => this.#invalid++,
      onFault: (error) => {
        this.#invalid++
        warn({ code: 'ZIBRATO_AGGREGATOR', message: `aggregator: a message was not taken: ${error.message}` })
      },
    })
    this.#reporters = reporters
    for (const reporter of reporters) reporter.registry = this
  }

  /** Where processes connect. */
  get address(): string {
    return this.#address.url
  }

  /**
   * Listens. A file left behind by an aggregator that was killed is replaced.
   *
   * @throws UsageError when the file or its directory is another user's
   * @throws ZibratoError with code `ERR_LISTEN` when another aggregator listens there, or it cannot be bound
   * @throws what a reporter does that cannot start
   */
  async start(): Promise<this> {
    if (this.#isStarted) throw new UsageError('aggregator: it was started already; make another')
    this.#address.secure()
    await this.#inlet.start()
    this.#isStarted = true
    try {
      for (const reporter of this.#reporters) await reporter.start()
    } catch (cause) {
      await this.close()
      throw cause
    }
    return this
  }

  figures(): AggregatorFigures {
    return {
      connections: this.#inlet.connections,
      merged: this.#merged,
      replays: this.#replays,
      invalid: this.#invalid,
      refused: this.#refused,
    }
  }

  /**
   * Takes what is on its way, for a second at the most, and listens no more; then reporters report a last time. What was added
   * up can still be read. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** @internal All that it knows, with which frames that is, for one that takes its place: {@link resume}. */
  checkpoint(): Uint8Array {
    const writer = new Writer(4096)
    for (const filter of this.#filters) filter.encode(writer, 'all')
    for (const figure of [this.#merged, this.#replays, this.#invalid, this.#refused]) writer.f64(figure)
    this.encode(writer)
    return writer.bytes()
  }

  /** @internal Goes on where another left off; before it is started. Both have to have clocks that agree. */
  resume(checkpoint: Uint8Array): void {
    const reader = new Reader(checkpoint)
    for (const filter of this.#filters) filter.restore(reader)
    this.#merged = reader.f64()
    this.#replays = reader.f64()
    this.#invalid = reader.f64()
    this.#refused = reader.f64()
    this.restore(reader)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    await this.#inlet.close()
    await Promise.all(this.#reporters.map((reporter) => reporter.stop()))
  }

  #take(bundle: Uint8Array): void {
    try {
      eachFrame(bundle, (start, end) => this.#takeFrame(bundle, start, end))
    } catch (error) {
      if (!(error instanceof InvalidFrameError)) throw error
      this.#invalid++
    }
  }

  #takeFrame(bundle: Uint8Array, start: number, end: number): void {
    let frame: Frame
    try {
      frame = decodeFrame(bundle, start, end)
    } catch (error) {
      // bad frames never take their neighbours along
      if (!(error instanceof InvalidFrameError)) throw error
      this.#invalid++
      return
    }
    const nowMs = Date.now()
    this.#forget(nowMs)
    const { publisher, level, shard, seq } = readHeader(bundle, start, end)
    const verdict = (this.#filters[shard] as ReplayFilter).admit(publisher, level, seq, nowMs)
    if (verdict === 'new') {
      this.#merged++
      this.#refused += this.takeIn(frame)
    } else if (verdict === 'replay') this.#replays++
    else this.#refused++
  }

  #forget(nowMs: number): void {
    if (Math.abs(nowMs - this.#forgotMs) < FORGET_MS) return
    this.#forgotMs = nowMs
    for (const filter of this.#filters) filter.forget(nowMs)
  }
}
