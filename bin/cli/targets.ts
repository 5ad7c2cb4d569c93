import { inDoubtOf, openBackend } from '../../backends/open.ts'
import type { BackendUrl } from '../../backends/url.ts'
import type { Target } from '../../backends/worker/index.ts'
import { UsageError } from '../../client/errors.ts'

/** How long one flush may take when the backend's URL does not say. */
const TIMEOUT_MS = 20_000

/**
 * The backends that `--to` names, not connected yet.
 *
 * @throws UsageError for an option or module that makes no sense, and for two that state could not tell apart
 */
export async function openTargets(urls: readonly BackendUrl[]): Promise<Target[]> {
  const targets: Target[] = []
  for (const url of urls) {
    const { key, label, timeoutMs = TIMEOUT_MS } = url
    if (targets.some((other) => other.key === key)) {
      throw new UsageError(`--to: ${label} is named twice; remove one, or tell them apart with ?known-as=NAME`)
    }
    const backend = await openBackend(url)
    targets.push({ backend, key, label, inDoubt: inDoubtOf(backend, url), timeoutMs })
  }
  return targets
}
