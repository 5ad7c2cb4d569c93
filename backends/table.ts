import { pacer } from '../client/pace.ts'

export interface Column {
  readonly title: string
  /** Numbers to the right, words to the left. */
  readonly align: 'left' | 'right'
  /** Where the table is too wide, the least important columns go first; words that never go are cut short. */
  readonly importance: number
}

const GAP = '  '
const NARROWEST = 8

/**
 * Lines of a table, titles first: columns as wide as what is in them, none without content, and not wider in all than
 * `width` characters where the columns' importance allows.
 */
export async function layOut(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): Promise<string[]> {
  const breathe = pacer()
  const widths = columns.map(() => 0)
  for (const row of rows) {
    for (let index = 0; index < widths.length; index++) {
      widths[index] = Math.max(widths[index] as number, displayWidth(row[index] ?? ''))
    }
    const pause = breathe()
    if (pause !== undefined) await pause
  }
  columns.forEach(({ title }, index) => {
    if (widths[index] !== 0) widths[index] = Math.max(widths[index] as number, displayWidth(title))
  })
  fit(columns, widths, width)
  const lines = [
    line(
      columns,
      widths,
      columns.map(({ title }) => title),
    ),
  ]
  for (const row of rows) {
    lines.push(line(columns, widths, row))
    const pause = breathe()
    if (pause !== undefined) await pause
  }
  return lines
}

// a width of 0 means that the column is not there
function fit(columns: readonly Column[], widths: number[], width: number): void {
  const excess = (): number => {
    const shown = widths.filter((each) => each > 0)
    return shown.reduce((sum, each) => sum + each, 0) + GAP.length * (shown.length - 1) - width
  }
  const byImportance = columns.map((column, index) => ({ ...column, index }))
  byImportance.sort((left, right) => left.importance - right.importance)
  for (const { importance, index } of byImportance) {
    if (excess() <= 0) return
    if (importance < Infinity) widths[index] = 0
  }
  while (excess() > 0) {
    const widest = widths.reduce((best, each, index) => (each > (widths[best] as number) ? index : best), 0)
    if ((widths[widest] as number) <= NARROWEST) return
    widths[widest] = Math.max(NARROWEST, (widths[widest] as number) - Math.max(1, Math.ceil(excess() / 2)))
  }
}

function line(columns: readonly Column[], widths: readonly number[], cells: readonly string[]): string {
  const shown: string[] = []
  columns.forEach(({ align }, index) => {
    const width = widths[index] as number
    if (width === 0) return
    const cell = clip(cells[index] ?? '', width)
    const space = ' '.repeat(Math.max(0, width - displayWidth(cell)))
    shown.push(align === 'left' ? cell + space : space + cell)
  })
  return shown.join(GAP).trimEnd()
}

const graphemes: Intl.Segmenter = new Intl.Segmenter()
const PLAIN = /^[\x20-\x7e]*$/
// the blocks that terminals draw two cells wide
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|^\p{Emoji_Presentation}|\ufe0f/u
const NO_WIDTH = /^[\p{Mark}\p{Format}]+$/u

/** Cells that a text without control characters takes on a terminal. */
export function displayWidth(text: string): number {
  if (PLAIN.test(text)) return text.length
  let width = 0
  for (const { segment } of graphemes.segment(text)) width += segmentWidth(segment)
  return width
}

function segmentWidth(segment: string): number {
  if (WIDE.test(segment)) return 2
  return NO_WIDTH.test(segment) ? 0 : 1
}

function clip(text: string, width: number): string {
  if (displayWidth(text) <= width) return text
  let clipped = ''
  let used = 0
  for (const { segment } of graphemes.segment(text)) {
    used += segmentWidth(segment)
    if (used > width - 1) break
    clipped += segment
  }
  return `${clipped}…`
}
