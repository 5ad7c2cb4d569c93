import { PermanentError } from './backend.ts'
import type { HttpAnswer } from './http.ts'
import type { BackendUrl } from './url.ts'

/** Of what a service says was wrong, this much is shown. */
const EXCERPT = 200

/**
 * Looks into an answer that accepts a post: where it lists `errors`, part of the post was refused, and the rest is taken.
 *
 * @param name the backend's
 * @throws PermanentError that counts one series for each error; the service does not say which
 */
export function throwPartial(url: BackendUrl, name: string, { status, text }: HttpAnswer): void {
  if (!text.includes('"errors"')) return
  const errors = errorsIn(text)
  if (errors.length === 0) return
  const shown = url.redact(
    errors.map((error) => (typeof error === 'string' ? error : JSON.stringify(error))).join('; '),
  )
  throw new PermanentError(`${name}: answered ${status}, and refused part of it: ${shown.slice(0, EXCERPT)}`, {
    refused: errors.length,
  })
}

function errorsIn(text: string): readonly unknown[] {
  try {
    const errors = (JSON.parse(text) as { errors?: unknown } | null)?.errors
    if (Array.isArray(errors)) return errors
    return typeof errors === 'object' && errors !== null && Object.keys(errors).length > 0 ? [errors] : []
  } catch {
    return []
  }
}
