import type { Platform, ZibratoOptions } from '../options.ts'
import { Zibrato as AnyZibrato } from '../zibrato.ts'

const platform: Platform = {
  name: 'edge',
  // Workers that are compatible with Node, Deno and Bun have it; the rest pass options
  env: (name) => (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.[name],
  defaultUrl: undefined,
}

/**
 * {@link AnyZibrato} where there are no sockets and no timers between requests: `flush` is what sends, so call it in
 * `ctx.waitUntil` at the end of each request.
 */
export class Zibrato<Level extends string = string> extends AnyZibrato<Level> {
  /** @throws UsageError naming the option that makes no sense */
  constructor(options: ZibratoOptions<Level> = {}) {
    super(options, platform)
  }
}
