import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

/** Files, PEM. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

/** Makes a certificate for 127.0.0.1 and localhost that vouches for itself. */
export function makeCertificate(directory: string, name = 'server'): Certificate {
  const [cert, key] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)]
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
      '-keyout',
      key,
      '-out',
      cert,
      '-subj',
      `/CN=${name}`,
      '-addext',
      'subjectAltName=IP:127.0.0.1,DNS:localhost',
    ],
    { stdio: 'ignore' },
  )
  return { cert, key }
}
