import { InvalidMeasurementError } from '../../client/errors.ts'
import type { SealedFrame } from '../../client/transport/transport.ts'
import { FrameEncoder } from '../../client/wire/frame.ts'
import { encodeKey, seriesKey } from '../../client/wire/series.ts'
import { Sum } from '../../client/sketch/aggregate.ts'
import type { IncomingMeasurement, Sink } from '../../gateway/ingest/sink.ts'

/** A sink that keeps what it is given. */
export class FakeSink implements Sink {
  readonly measurements: IncomingMeasurement[] = []
  readonly frames: SealedFrame[] = []
  full = false
  online = true
  /** What `sealed` waits for. */
  ready: Promise<boolean> = Promise.resolve(true)

  record(measurement: IncomingMeasurement): string | undefined {
    try {
      seriesKey(measurement.name, measurement.source ?? 'not_specified', measurement.tags)
    } catch (error) {
      if (error instanceof InvalidMeasurementError) return error.message
      throw error
    }
    this.measurements.push(measurement)
    return undefined
  }

  sealed(): Promise<boolean> {
    return this.ready
  }

  offer(frames: readonly SealedFrame[]): boolean {
    if (this.full) return false
    this.frames.push(...frames)
    return true
  }

  connected(): boolean {
    return this.online
  }
}

/** A valid frame of one counter, which may have `many` entries. */
export function counterFrame(
  options: { name?: string; level?: string; seq?: number; value?: number; publisher?: number; many?: number } = {},
): Uint8Array {
  const { name = 'orders', level = 'info', seq = 1, value = 1, publisher = 2, many = 1 } = options
  const key = encodeKey(seriesKey(name, 'web'))
  const encoder = new FrameEncoder()
  for (let entry = 0; entry < many; entry++) encoder.add(1, key, new Sum(value))
  return encoder.seal({ high: 1, low: publisher }, level, key.shard, seq, 1_700_000_000_000, 5_000)
}
