/** A bundle for a shard's stream. Its frames are whole: what is joined to it stands behind the last. */
export interface JournalEntry {
  readonly shard: number
  readonly bundle: Uint8Array
}

/** What somebody wants written, all of it. */
export interface Appending {
  readonly entries: readonly JournalEntry[]
  readonly bytes: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** An entry of a stream, made of bundles of one or more appendings. */
export interface Joined {
  readonly shard: number
  readonly bundle: Buffer
  readonly of: ReadonlySet<Appending>
}

/** Joins bundles of one shard into entries of up to `maxBytes`, in the order given. */
export function join(appendings: readonly Appending[], maxBytes: number): Joined[] {
  const joined: Joined[] = []
  const open = new Map<number, { bundles: Uint8Array[]; bytes: number; of: Set<Appending> }>()
  const close = (shard: number): void => {
    const group = open.get(shard)
    if (group === undefined) return
    open.delete(shard)
    const [first = new Uint8Array(), ...others] = group.bundles
    const bundle = others.length === 0 ? asBuffer(first) : Buffer.concat(group.bundles)
    joined.push({ shard, bundle, of: group.of })
  }
  for (const appending of appendings) {
    for (const { shard, bundle } of appending.entries) {
      if ((open.get(shard)?.bytes ?? 0) + bundle.length > maxBytes) close(shard)
      let group = open.get(shard)
      if (group === undefined) open.set(shard, (group = { bundles: [], bytes: 0, of: new Set() }))
      group.bundles.push(bundle)
      group.bytes += bundle.length
      group.of.add(appending)
    }
  }
  for (const shard of open.keys()) close(shard)
  return joined
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
