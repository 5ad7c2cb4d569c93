// A backend for `zibrato worker --to module:`, which takes every window and drops it. With `?watch=yes` it tells the parent
// when it last saw a frame of each shard: `[shard, ms, ...]`, every few ms.
const EVERY_MS = 5

export default function create(/** @type {{ params: { text(name: string): string | undefined } }} */ { params }) {
  const isWatching = params.text('watch') === 'yes'
  return { name: 'taking', async flush() {}, ...(isWatching ? { receive: watch() } : {}) }
}

function watch() {
  /** @type {Map<number, number>} */
  const seen = new Map()
  setInterval(() => {
    if (seen.size > 0) process.send([...seen].flat())
    seen.clear()
  }, EVERY_MS)
  return (/** @type {{ shard: number }} */ { shard }) => {
    // the first of an interval: a stop before it is what counts
    if (!seen.has(shard)) seen.set(shard, Date.now())
  }
}
