/**
 * One run of one contender.
 *
 * @typedef {object} Run
 * @property {number} round
 * @property {number} size 0 when the case has none
 * @property {string} contender
 * @property {import('./case.js').Figures} figures
 */

/** @param {readonly number[]} values */
export function median(values) {
  const sorted = [...values].sort((left, right) => left - right)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/**
 * A case's rows as a Markdown table.
 *
 * @param {import('./case.js').Case} bench
 * @param {readonly Run[]} runs
 */
export function tableOf(bench, runs) {
  const sized = bench.sizes !== undefined
  const unit = bench.sizeUnit ?? 'series'
  const head = [...(sized ? [unit] : []), 'measured', 'value', 'peer', 'value', 'ratio', 'target', 'met']
  const lines = [head, head.map((title) => (title === 'value' || title === 'ratio' || title === unit ? '--:' : '---'))]
  const ran = new Set(runs.map(({ size }) => size))
  for (const row of bench.rows) {
    for (const size of row.sizes ?? bench.sizes ?? [0]) {
      if (ran.has(size)) lines.push([...(sized ? [size.toLocaleString('en')] : []), ...cellsOf(row, size, runs)])
    }
  }
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/**
 * @param {import('./case.js').Row} row
 * @param {number} size
 * @param {readonly Run[]} runs
 */
function cellsOf(row, size, runs) {
  const { unit, measured, peer } = row
  const target = row.target?.sizes?.includes(size) === false ? undefined : row.target
  const values = valuesOf(measured, size, runs)
  const peers = peer === undefined ? [] : valuesOf(peer, size, runs)
  // a round's two runs saw the same machine, so theirs are the ratios to take the median of
  const ratio = peer === undefined ? undefined : median(values.map((value, round) => value / peers[round]))
  const name = (/** @type {import('./case.js').Figure} */ [contender, figure]) =>
    unit === '' || figure === 'ns' || figure === 'rate' ? contender : `${contender}, ${figure}`
  const judged = ratio ?? median(values)
  return [
    name(measured),
    shown(median(values), unit),
    peer === undefined ? '' : name(peer),
    peer === undefined ? '' : shown(median(peers), unit),
    ratio === undefined ? '' : digits(ratio),
    target === undefined ? '' : aim(target, ratio === undefined ? unit : ''),
    target === undefined ? '' : isMet(target, judged) ? 'yes' : '**no**',
  ]
}

/**
 * A figure's values, by round.
 *
 * @param {import('./case.js').Figure} figure
 * @param {number} size
 * @param {readonly Run[]} runs
 */
function valuesOf([contender, figure], size, runs) {
  return runs
    .filter((run) => run.contender === contender && run.size === size)
    .sort((left, right) => left.round - right.round)
    .map(({ figures }) => figures[figure])
}

/** @param {import('./case.js').Target} target @param {number} value */
function isMet({ atMost = Number.POSITIVE_INFINITY, atLeast = Number.NEGATIVE_INFINITY }, value) {
  return value <= atMost && value >= atLeast
}

/** @param {import('./case.js').Target} target @param {string} unit */
function aim({ atMost, atLeast }, unit) {
  const [sign, value] = atMost === undefined ? ['≥', atLeast] : ['≤', atMost]
  return `${sign} ${shown(value, unit)}`
}

/** @param {number} value @param {string} unit */
function shown(value, unit) {
  return `${digits(value)} ${unit}`.trim()
}

/** Three digits that matter, and separators. @param {number} value */
function digits(value) {
  if (!Number.isFinite(value)) return String(value)
  const decimals = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))))
  const rounded = Number(value.toPrecision(3))
  return value >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(rounded.toFixed(decimals)))
}
