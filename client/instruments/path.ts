import type { TagValue, Tags } from '../wire/series.ts'

/**
 * Finds a handle by what names it, step by step, without building a text: each step is one look-up by a text whose hash
 * the runtime keeps. Tags are followed in the order in which they come, so one handle may have several paths.
 */
export class Path<Handle> {
  handle: Handle | undefined
  #next: Map<TagValue, Path<Handle>> | undefined

  step(key: TagValue): Path<Handle> | undefined {
    return this.#next?.get(key)
  }

  /** {@link step}, made when it is not there. */
  grow(key: TagValue): Path<Handle> {
    this.#next ??= new Map()
    let path = this.#next.get(key)
    if (path === undefined) this.#next.set(key, (path = new Path()))
    return path
  }

  clear(): void {
    this.#next = undefined
  }
}

/** Where following the tags leads, one by one; undefined when nobody has been there. */
export function findTags<Handle>(from: Path<Handle>, tags: Tags): Path<Handle> | undefined {
  let path: Path<Handle> | undefined = from
  for (const key in tags) {
    const value = tags[key]
    if (value === undefined) continue
    path = path.step(key)?.step(value)
    if (path === undefined) return undefined
  }
  return path
}

/** {@link findTags}, made where it is not there. */
export function growTags<Handle>(from: Path<Handle>, tags: Tags): Path<Handle> {
  let path = from
  for (const key in tags) {
    const value = tags[key]
    if (value !== undefined) path = path.grow(key).grow(value)
  }
  return path
}
