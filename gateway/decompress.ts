import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import type { Decompress } from './limits.ts'

const CREATE = { gzip: createGunzip, deflate: createInflate, br: createBrotliDecompress } as const

/** Node's decompression: piece by piece off the main thread, `br` too. */
export const decompress: Decompress = (encoding, bytes, take) =>
  new Promise((resolve, reject) => {
    const stream = CREATE[encoding]()
    stream.on('data', (piece: Uint8Array) => {
      try {
        take(piece)
      } catch (error) {
        stream.destroy(error as Error)
      }
    })
    stream.on('end', resolve)
    stream.on('error', reject)
    stream.end(bytes)
  })
