import type { Format } from './exposition.ts'

interface Range {
  readonly name: string
  readonly params: ReadonlyMap<string, string>
  /** 0 to 1. */
  readonly quality: number
}

/** What an `Accept` header asks for; the classic text when it asks for neither, as who sees no other has always got. */
export function formatFor(accept: string): Format {
  const best = (isMeant: (range: Range) => boolean): number =>
    Math.max(
      0,
      ...rangesOf(accept)
        .filter(isMeant)
        .map(({ quality }) => quality),
    )
  const open = best(
    ({ name, params }) => name === 'application/openmetrics-text' && (params.get('version') ?? '1.0.0') === '1.0.0',
  )
  const text = best(({ name, params }) => name === 'text/plain' && (params.get('version') ?? '0.0.4') === '0.0.4')
  return open > 0 && open >= text ? 'openmetrics' : 'text'
}

/** Whether an `Accept-Encoding` header takes gzip. */
export function takesGzip(acceptEncoding: string): boolean {
  const ranges = rangesOf(acceptEncoding)
  const gzip = ranges.find(({ name }) => name === 'gzip') ?? ranges.find(({ name }) => name === '*')
  return gzip !== undefined && gzip.quality > 0
}

function rangesOf(header: string): Range[] {
  return header.split(',').map((part) => {
    const [name = '', ...rest] = part.split(';').map((piece) => piece.trim().toLowerCase())
    const params = new Map(
      rest.map((param): [string, string] => {
        const [key = '', value = ''] = param.split('=', 2)
        return [key.trim(), value.trim().replace(/^"(.*)"$/, '$1')]
      }),
    )
    const quality = Number(params.get('q') ?? '1')
    return { name, params, quality: quality >= 0 && quality <= 1 ? quality : 0 }
  })
}
