import { UsageError } from './errors.ts'

/** Keys of ZeroMQ's CURVE encryption, Z85, 40 characters each. */
export interface CurveKeys {
  /** The broker's public key. */
  readonly serverKey: string
  readonly publicKey: string
  readonly secretKey: string
}

/** A key as text. */
export const CURVE_KEY: RegExp = /^[0-9A-Za-z.\-:+=^!/*?&<>()[\]{}@%$#]{40}$/

/**
 * Before ZeroMQ sees them: a socket that it refuses to make ends the program when that ends.
 *
 * @throws UsageError naming the key, never what it is
 */
export function checkCurve(curve: CurveKeys | undefined): void {
  if (curve === undefined) return
  for (const name of ['serverKey', 'publicKey', 'secretKey'] as const) {
    if (typeof curve[name] === 'string' && CURVE_KEY.test(curve[name])) continue
    throw new UsageError(`curve: ${name} is no CURVE key; give the 40 characters that zeromq's curveKeyPair() makes`)
  }
}

/** The options of a ZeroMQ socket that connects. @throws UsageError for keys that are none */
export function socketOptions(urls: readonly string[], curve: CurveKeys | undefined): SocketOptions {
  checkCurve(curve)
  return {
    reconnectInterval: 50,
    reconnectMaxInterval: 1_000,
    // a peer that is gone without a word is noticed well within the 15 s that sent frames are kept
    heartbeatInterval: 2_000,
    heartbeatTimeout: 6_000,
    ipv6: urls.some((url) => url.includes('[')),
    ...(curve === undefined
      ? {}
      : { curveServerKey: curve.serverKey, curvePublicKey: curve.publicKey, curveSecretKey: curve.secretKey }),
  }
}

/** @internal */
export interface SocketOptions {
  readonly reconnectInterval: number
  readonly reconnectMaxInterval: number
  readonly heartbeatInterval: number
  readonly heartbeatTimeout: number
  readonly ipv6: boolean
  readonly curveServerKey?: string
  readonly curvePublicKey?: string
  readonly curveSecretKey?: string
}
