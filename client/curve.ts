/** Keys of ZeroMQ's CURVE encryption, Z85, 40 characters each. */
export interface CurveKeys {
  /** The broker's public key. */
  readonly serverKey: string
  readonly publicKey: string
  readonly secretKey: string
}

/** The options of a ZeroMQ socket that connects. */
export function socketOptions(urls: readonly string[], curve: CurveKeys | undefined): SocketOptions {
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
