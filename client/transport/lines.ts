import { InvalidMeasurementError } from '../errors.ts'
import type { Aggregate } from '../sketch/aggregate.ts'
import { Distribution } from '../sketch/distribution.ts'
import { Gauge } from '../sketch/gauge.ts'
import type { WarningSink } from '../warning.ts'
import { type Frame, type FrameEntry, decodeFrame } from '../wire/frame.ts'
import { type TextType, checkTextSeries, formatText } from '../wire/text.ts'
import type { Backlog, Outgoing } from './backlog.ts'
import { Fifo } from './fifo.ts'
import type { Carries, SealedFrame, TransportStats } from './transport.ts'

/** How long lines are kept that nobody ever took, as frames are; ms. */
const UNTAKEN_MS = 15_000

export interface LineBacklogOptions {
  /** Bytes of lines that wait. Default 16 MB. */
  readonly waitingBytes?: number | undefined
  /** ms since some fixed point; must not go back. */
  readonly now: () => number
  readonly warn: WarningSink
}

interface Line {
  readonly bytes: Uint8Array
  readonly queuedMs: number
}

/** Lines of one level. */
interface Queue {
  /** How they begin: `info|`. */
  readonly start: string
  readonly lines: Fifo<Line>
  /** Whether somebody takes at least some of them; the socket knows which. */
  taken: boolean
  everTaken: boolean
}

interface TakenLine extends Outgoing {
  readonly queue: Queue
  readonly line: Line
}

/** Of timers and histograms every value has to go out by itself; what the rest became in between is a line. */
export const LINES_CARRY: Carries = {
  singly: true,
  check(type, identity, combine) {
    checkTextSeries(type, identity)
    if (combine === 'last') return
    throw new InvalidMeasurementError(
      `gauge ${JSON.stringify(identity.name)}: text lines cannot combine by "${combine}"; leave out combine or format: 'text'`,
    )
  },
}

/**
 * What a client has to say in text lines: the frames it makes, told as Zibrato for Python would. A line has no identity, so
 * it goes out once: what is lost on the way is lost, and nothing counts twice.
 */
export class LineBacklog implements Backlog {
  readonly unit = 'lines'
  readonly #waitingBytes: number
  readonly #now: () => number
  readonly #warn: WarningSink
  readonly #queues = new Map<string, Queue>()
  readonly #prefixes = new Set<string>()
  #bytes = 0
  #waiting = 0
  #sent = 0
  readonly #dropped: Record<string, number> = {}

  constructor({ waitingBytes, now, warn }: LineBacklogOptions) {
    this.#waitingBytes = waitingBytes ?? 16 << 20
    this.#now = now
    this.#warn = warn
  }

  get full(): boolean {
    return this.#bytes >= this.#waitingBytes
  }

  get subscribed(): boolean {
    return this.#prefixes.size > 0
  }

  get ready(): boolean {
    return this.#next() !== undefined
  }

  get pressing(): number {
    let pressing = 0
    for (const { everTaken, lines } of this.#queues.values()) if (everTaken) pressing += lines.length
    return pressing
  }

  get waiting(): number {
    return this.#waiting
  }

  push(frames: readonly SealedFrame[]): boolean {
    for (const { bytes } of frames) this.#tell(decodeFrame(bytes))
    while (this.#bytes > this.#waitingBytes) this.#drop(this.#oldest() as Queue, 'overflow')
    return true
  }

  take(): TakenLine | undefined {
    const queue = this.#next()
    const line = queue?.lines.shift()
    if (queue === undefined || line === undefined) return undefined
    this.#count(line, -1)
    this.#sent++
    return { parts: [line.bytes], queue, line }
  }

  untake({ queue, line }: TakenLine): void {
    queue.lines.prepend([line])
    this.#count(line, 1)
    this.#sent--
  }

  subscribe(prefix: string): void {
    // those are for frames
    if (prefix.startsWith('#') || prefix.startsWith('?')) return
    this.#prefixes.add(prefix)
    for (const queue of this.#queues.values()) if (isOf(queue, prefix)) queue.taken = queue.everTaken = true
  }

  unsubscribe(prefix: string): void {
    this.#prefixes.delete(prefix)
    for (const queue of this.#queues.values()) queue.taken = this.#isTaken(queue)
  }

  disconnect(): void {
    this.#prefixes.clear()
    for (const queue of this.#queues.values()) queue.taken = false
  }

  resend(): void {
    // a line that arrived and comes again would count twice
  }

  expire(): void {
    const now = this.#now()
    for (const [level, queue] of this.#queues) {
      while (!queue.everTaken && queue.lines.first !== undefined && now - queue.lines.first.queuedMs >= UNTAKEN_MS) {
        this.#drop(queue, 'unsubscribed')
      }
      if (queue.lines.length === 0) this.#queues.delete(level)
    }
  }

  abandon(heard: boolean): void {
    for (const queue of this.#queues.values()) {
      while (queue.lines.length > 0) this.#drop(queue, heard && !queue.everTaken ? 'unsubscribed' : 'closed')
    }
  }

  stats(): TransportStats {
    return {
      sent: this.#sent,
      replayed: 0,
      waiting: this.#waiting,
      waitingBytes: this.#bytes,
      unknown: 0,
      dropped: { ...this.#dropped },
    }
  }

  #tell({ level, closedMs, entries }: Frame): void {
    for (const { series, aggregate } of entries) {
      for (const [timeMs, value] of this.#values(series, aggregate, closedMs)) {
        const { name, source } = series
        // a histogram's values are no seconds, and lines have nothing nearer
        const type = (series.type === 'histogram' ? 'gauge' : series.type) as TextType
        this.#add(level, formatText({ level, type, name, value, timestamp: timeMs / 1000, source }))
      }
    }
  }

  /** [time in ms, value] of each line. */
  #values({ name }: FrameEntry['series'], aggregate: Aggregate, closedMs: number): [number, number][] {
    if (aggregate instanceof Gauge) return aggregate.readings()
    if (!(aggregate instanceof Distribution)) return 'value' in aggregate ? [[closedMs, aggregate.value]] : []
    if (aggregate.weights === undefined) return Array.from(aggregate.values, (value) => [closedMs, value])
    if (this.#dropped['rate'] === undefined) {
      this.#warn({
        code: 'ZIBRATO_DROPPED',
        message: `dropped measurements of ${JSON.stringify(name)} and perhaps others: text lines have no sample rate; leave out rate`,
      })
    }
    this.#dropped['rate'] = (this.#dropped['rate'] ?? 0) + aggregate.values.length
    return []
  }

  #add(level: string, bytes: Uint8Array): void {
    let queue = this.#queues.get(level)
    if (queue === undefined) {
      queue = { start: `${level}|`, lines: new Fifo(), taken: false, everTaken: false }
      queue.taken = queue.everTaken = this.#isTaken(queue)
      this.#queues.set(level, queue)
    }
    const line = { bytes, queuedMs: this.#now() }
    queue.lines.push(line)
    this.#count(line, 1)
  }

  #next(): Queue | undefined {
    for (const queue of this.#queues.values()) if (queue.taken && queue.lines.length > 0) return queue
    return undefined
  }

  #isTaken(queue: Queue): boolean {
    for (const prefix of this.#prefixes) if (isOf(queue, prefix)) return true
    return false
  }

  #drop(queue: Queue, reason: string): void {
    const line = queue.lines.shift()
    if (line === undefined) return
    this.#count(line, -1)
    this.#dropped[reason] = (this.#dropped[reason] ?? 0) + 1
  }

  #oldest(): Queue | undefined {
    let oldest: Queue | undefined
    let least = Number.POSITIVE_INFINITY
    for (const queue of this.#queues.values()) {
      const at = queue.lines.first?.queuedMs ?? Number.POSITIVE_INFINITY
      if (at >= least) continue
      oldest = queue
      least = at
    }
    return oldest
  }

  #count({ bytes }: Line, sign: 1 | -1): void {
    this.#waiting += sign
    this.#bytes += sign * bytes.length
  }
}

/** Whether lines with this start can match a prefix. */
function isOf({ start }: Queue, prefix: string): boolean {
  // a broker asks for the first bytes of characters, which alone are none
  if (prefix === '\ufffd') return start.charCodeAt(0) > 0x7f
  return start.startsWith(prefix) || prefix.startsWith(start)
}
