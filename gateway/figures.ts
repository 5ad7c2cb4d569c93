/** One figure of Prometheus' text format. */
export interface Figure {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge'
  /** One number, or one for each value of `label`. */
  readonly value: number | Readonly<Record<string, number>>
  readonly label?: string
}

/** Prometheus' text format, version 0.0.4. */
export function exposition(figures: readonly Figure[]): string {
  let text = ''
  for (const { name, help, type, value, label } of figures) {
    text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`
    if (typeof value === 'number') text += `${name} ${value}\n`
    else
      for (const key of Object.keys(value)) text += `${name}{${label ?? 'name'}="${escapeLabel(key)}"} ${value[key]}\n`
  }
  return text
}

function escapeLabel(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
