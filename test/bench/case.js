/**
 * What a file in `cases/` exports as default.
 *
 * @typedef {object} Case
 * @property {string} name what `--only` takes
 * @property {string} title
 * @property {string} method how it is measured and why so, for RESULTS.md
 * @property {number[]} [sizes] series (or bytes) at which every contender runs; none: it runs once a round
 * @property {string} [sizeUnit] default `series`
 * @property {(size: number) => number} [rounds] in a full run; default 5
 * @property {string[]} [nodeArgs]
 * @property {Record<string, (context: Context) => Promise<Figures>>} contenders each runs in a process of its own
 * @property {Row[]} rows
 *
 * @typedef {object} Context
 * @property {number} size
 * @property {number} seconds how long to measure, warm-up not included
 *
 * @typedef {Record<string, number>} Figures
 *
 * @typedef {[contender: string, figure: string]} Figure
 *
 * @typedef {object} Row
 * @property {Figure} measured
 * @property {Figure} [peer]
 * @property {string} unit
 * @property {Target} [target] none: it is shown for information
 * @property {number[]} [sizes] default: all of the case's
 *
 * @typedef {object} Target of the ratio to the peer, or, without a peer, of the value itself
 * @property {number} [atMost]
 * @property {number} [atLeast]
 * @property {number[]} [sizes] where it holds; default: all of the row's
 */

export {}
