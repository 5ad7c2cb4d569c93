import {
  Distribution,
  FRAME_BYTES,
  FrameEncoder,
  SHARDS,
  TYPE_CODE,
  encodeBundle,
  encodeKey,
  seriesKey,
} from './internals.js'
import { random } from './data.js'

/** From here on to 2,097,151 a seq takes three bytes, so that a frame's can be changed in place two million times. */
const MANY_SEQS = 16_384

/** Where a frame's seq stands: behind magic, version, flags and publisher. */
const SEQ_AT = 12

/** Values in a timer's aggregate. */
const VALUES = 10

/**
 * Some publishers' frames of the same series, or of series of their own, each a bundle of its own, as they come from a
 * broker. Keys take about 40 bytes: `http.requests web-1 route /item/000123`.
 */
export class Frames {
  /** @type {{ shard: number, bundle: Uint8Array }[]} */
  bundles = []
  #seq
  #seqBytes

  /**
   * @param {object} options
   * @param {number} options.series of each publisher
   * @param {'counter' | 'timer'} [options.type]
   * @param {number} [options.publishers]
   * @param {boolean} [options.own] whether each publisher has series of its own
   * @param {number} [options.seq] of the first flush: 1 is a new publisher's, who can then flush 127 times
   */
  constructor({ series, type = 'counter', publishers = 1, own = false, seq = MANY_SEQS }) {
    this.series = series
    this.publishers = publishers
    this.#seq = seq
    this.#seqBytes = seq < 128 ? 1 : 3
    for (let publisher = 0; publisher < publishers; publisher++) {
      this.#encode(type, publisher, own ? `web-${publisher + 1}` : 'web-1')
    }
  }

  /** The next seq for every frame, in place: the same bytes as another flush of the same series. */
  advance() {
    this.#seq++
    if (this.#seq >= 2 ** (7 * this.#seqBytes)) throw new Error('bench: seqs have run out')
    for (const { bundle } of this.bundles) this.#stamp(bundle, lengthBytes(bundle))
  }

  /** @param {string} type @param {number} publisher @param {string} source */
  #encode(type, publisher, source) {
    const encoders = Array.from({ length: SHARDS }, () => new FrameEncoder())
    const next = random(publisher + 1)
    // split past FRAME_BYTES each part has a seq of its own: here, a publisher of its own
    let part = 0
    const seal = (/** @type {number} */ shard) => {
      const frame = encoders[shard].seal(
        { high: publisher + 1, low: part++ },
        'info',
        shard,
        this.#seq,
        Date.now(),
        5_000,
      )
      this.bundles.push({ shard, bundle: encodeBundle([frame]) })
    }
    for (const index of shuffled(this.series, next)) {
      const key = keyOf(index, source)
      const encoder = encoders[key.shard]
      if (type === 'counter') encoder.entry(TYPE_CODE.counter, key).f64(1)
      else encoder.add(TYPE_CODE.timer, key, timings(next))
      if (encoder.size >= FRAME_BYTES) seal(key.shard)
    }
    for (let shard = 0; shard < SHARDS; shard++) if (encoders[shard].count > 0) seal(shard)
  }

  /** @param {Uint8Array} bundle @param {number} start */
  #stamp(bundle, start) {
    const at = start + SEQ_AT
    for (let byte = 0; byte < this.#seqBytes; byte++) {
      bundle[at + byte] = ((this.#seq >>> (7 * byte)) & 0x7f) | (byte + 1 < this.#seqBytes ? 0x80 : 0)
    }
  }
}

/** @param {number} index @param {string} [source] */
export function keyOf(index, source = 'web-1') {
  return encodeKey(seriesKey('http.requests', source, { route: `/item/${String(index).padStart(6, '0')}` }))
}

/** 0 .. count - 1, as every publisher has met its series in an order of its own. @param {number} count @param {() => number} next */
function shuffled(count, next) {
  const indexes = Uint32Array.from({ length: count }, (_, index) => index)
  for (let index = count - 1; index > 0; index--) {
    const other = Math.floor(next() * (index + 1))
    const held = indexes[index]
    indexes[index] = indexes[other]
    indexes[other] = held
  }
  return indexes
}

/** @param {() => number} next */
function timings(next) {
  const timer = new Distribution()
  for (let index = 0; index < VALUES; index++) timer.add(0.001 + next() * 0.1)
  return timer
}

/** Bytes of a bundle's leading varint. @param {Uint8Array} bundle */
function lengthBytes(bundle) {
  let bytes = 1
  while (bundle[bytes - 1] >= 0x80) bytes++
  return bytes
}
