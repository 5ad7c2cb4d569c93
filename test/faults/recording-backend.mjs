// A backend that posts every window as JSON to a recorder, see recorder.ts. It overwrites by (series, time), unless
// `?additive` says that it adds up. With `?ask` it asks first, so that the moment before a flush can be caught.
export default class RecordingBackend {
  name = 'recorder'
  idempotent
  inDoubt = 'drop'
  #url
  #ask

  constructor(url) {
    this.#url = url.params.required('recorder')
    this.#ask = url.params.flag('ask') ?? false
    this.idempotent = !(url.params.flag('additive') ?? false)
  }

  async flush({ start, end, rollups }, signal) {
    const plain = rollups.map((rollup) => ({ ...rollup, distribution: undefined, members: undefined }))
    const { pid } = process
    if (this.#ask) await this.#post('/ask', { pid, start, end }, signal)
    await this.#post('/windows', { pid, start, end, rollups: plain }, signal)
  }

  async #post(path, body, signal) {
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(new URL(path, this.#url), {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
      signal,
    })
    await answer.arrayBuffer()
    if (!answer.ok) throw new Error(`the recorder answered ${answer.status}`)
  }
}
