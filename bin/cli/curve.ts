import { createPrivateKey, createPublicKey } from 'node:crypto'
import type { CurveKeys } from '../../client/curve.ts'

const Z85 = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#'
// DER of an X25519 private key, up to the 32 bytes of the key itself
const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex')

/** Keys to connect to a broker with; whoever knows its public key may, so our own pair is made afresh. */
export async function connectKeys(serverKey: string | undefined): Promise<CurveKeys | undefined> {
  if (serverKey === undefined) return undefined
  const { curveKeyPair } = await import('zeromq')
  return { serverKey, ...curveKeyPair() }
}

/** The public key of a secret one, both as 40 characters of Z85. */
export function publicKeyOf(secretKey: string): string {
  const key = createPrivateKey({ key: Buffer.concat([PKCS8, decode(secretKey)]), format: 'der', type: 'pkcs8' })
  // the last 32 bytes of the DER are the key
  return encode(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32))
}

function decode(text: string): Buffer {
  const bytes = Buffer.alloc((text.length * 4) / 5)
  for (let index = 0; index < text.length; index += 5) {
    let word = 0
    for (const character of text.slice(index, index + 5)) word = word * 85 + Z85.indexOf(character)
    bytes.writeUInt32BE(word % 2 ** 32, (index * 4) / 5)
  }
  return bytes
}

function encode(bytes: Buffer): string {
  let text = ''
  for (let index = 0; index < bytes.length; index += 4) {
    let word = bytes.readUInt32BE(index)
    let group = ''
    for (let digit = 0; digit < 5; digit++) {
      group = Z85.charAt(word % 85) + group
      word = Math.floor(word / 85)
    }
    text += group
  }
  return text
}
