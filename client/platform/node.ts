import { channel } from 'node:diagnostics_channel'
import type { Platform, ZibratoOptions } from '../options.ts'
import { ZmqTransport } from '../transport/zmq.ts'
import { Zibrato as AnyZibrato } from '../zibrato.ts'
import { closeOnExit } from './exit.ts'

const warnings = channel('zibrato:warning')

const platform: Platform = {
  name: 'node',
  env: (name) => process.env[name],
  defaultUrl: 'tcp://127.0.0.1:5550',
  openTcp: ({ waitingBytes, sentBytes, ...options }) =>
    new ZmqTransport({
      ...options,
      ...(waitingBytes === undefined ? {} : { waitingBytes }),
      ...(sentBytes === undefined ? {} : { sentBytes }),
    }),
  every(intervalMs, call) {
    const timer = setInterval(call, intervalMs).unref()
    return () => clearInterval(timer)
  },
  onExit: closeOnExit,
  publishWarning: (warning) => warnings.publish(warning),
}

/** {@link AnyZibrato} for Node: publishes over ZeroMQ or HTTP, on a timer, and flushes before the program ends. */
export class Zibrato<Level extends string = string> extends AnyZibrato<Level> {
  /** @throws UsageError naming the option that makes no sense */
  constructor(options: ZibratoOptions<Level> = {}) {
    super(options, platform)
  }
}
