/** A transport that adds up what it is given and keeps nothing. */
export class DiscardTransport {
  frames = 0
  bytes = 0

  /** @param {readonly { bytes: Uint8Array }[]} frames */
  send(frames) {
    for (const { bytes } of frames) {
      this.frames++
      this.bytes += bytes.length
    }
    return true
  }

  connected() {
    return true
  }

  async drain() {}

  async close() {}

  stats() {
    return { sent: this.frames, replayed: 0, waiting: 0, waitingBytes: 0, unknown: 0, dropped: {} }
  }
}
