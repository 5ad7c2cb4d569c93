/** What is wrong with a Redis, and what to do about it. */
export interface Trouble {
  readonly what: string
  readonly wayOut: string
  /** Whether it stays wrong however often it is tried: somebody has to change something. */
  readonly lasting?: true
}

const KEPT = 'what the worker holds waits'

/** By how an answer or error begins or what it contains; the first that matches counts. */
const TROUBLES: readonly (readonly [pattern: RegExp, trouble: Trouble])[] = [
  [
    /\bOOM\b/,
    { what: 'is full (maxmemory is reached)', wayOut: `raise maxmemory or have backends take what waits; ${KEPT}` },
  ],
  [
    /\bMISCONF\b/,
    { what: 'refuses writes, since it cannot save to its disk', wayOut: `see its log, make room on its disk; ${KEPT}` },
  ],
  [
    /\bREADONLY\b/,
    { what: 'is a read-only replica', wayOut: 'name its master, or use redis+sentinel: or redis+cluster: to find it' },
  ],
  [/\bNOREPLICAS\b/, { what: 'has fewer replicas than min-replicas-to-write', wayOut: `start its replicas; ${KEPT}` }],
  [
    /replicas have what was written/,
    { what: 'has fewer replicas in step than replicas= asks for', wayOut: `start its replicas, or lower it; ${KEPT}` },
  ],
  [/\bLOADING\b/, { what: 'is loading its data', wayOut: 'wait until it is ready' }],
  [/\bMASTERDOWN\b/, { what: 'is a replica that lost its master', wayOut: 'name the master' }],
  [/\bCLUSTERDOWN\b|cluster_state/, { what: 'is a Cluster that does not serve all slots', wayOut: 'see CLUSTER INFO' }],
  [
    /Too many Cluster redirections|\bTRYAGAIN\b/,
    { what: 'is a Cluster that is moving slots', wayOut: 'wait until it is done' },
  ],
  [/\bBUSY\b/, { what: "is busy with somebody's script", wayOut: 'wait until it is free' }],
  [
    /\bNOAUTH\b|without any password/,
    { what: 'wants a password', wayOut: 'write redis://$USER:$PASSWORD@host', lasting: true },
  ],
  [/\bWRONGPASS\b|invalid password/, { what: 'refuses user and password', wayOut: 'correct them', lasting: true }],
  [
    /\bNOPERM\b/,
    {
      what: 'does not let its user do what is needed',
      wayOut: 'see the ACL rule in backends/state/README.md',
      lasting: true,
    },
  ],
  [/DB index is out of range/, { what: 'has no database of that number', wayOut: 'name another', lasting: true }],
  [
    /cluster support disabled|Cluster mode is not enabled/,
    { what: 'is no Cluster', wayOut: 'write redis://host', lasting: true },
  ],
  [
    /\bCROSSSLOT\b|\bMOVED\b|SELECT is not allowed in cluster mode/,
    { what: 'is a node of a Cluster', wayOut: 'write redis+cluster://host', lasting: true },
  ],
  [
    /unknown command .?sentinel/i,
    {
      what: 'is no Sentinel',
      wayOut: 'name Sentinels and their port, mostly 26379, or write redis://host',
      lasting: true,
    },
  ],
  [
    /invalid reply: null/,
    { what: 'has Sentinels that know no master of that name', wayOut: 'see SENTINEL MASTERS', lasting: true },
  ],
  [/max number of clients/, { what: 'has as many clients as it takes', wayOut: 'raise maxclients' }],
  [/\bWRONGTYPE\b/, { what: 'has a key of ours that somebody else uses', wayOut: 'choose another prefix=' }],
  [
    /SELF_SIGNED|UNABLE_TO_(VERIFY|GET)|self.signed certificate|unable to (verify|get)/,
    { what: 'has a certificate that nobody here vouches for', wayOut: 'name its CA: ?ca=FILE', lasting: true },
  ],
  [
    /CERT_HAS_EXPIRED|certificate has expired/,
    { what: 'has a certificate that is over', wayOut: 'renew it', lasting: true },
  ],
  [
    /ALTNAME_INVALID|does not match certificate/,
    { what: 'has a certificate for another name', wayOut: 'write the host as its certificate has it', lasting: true },
  ],
  [
    /wrong version number|packet length too long/i,
    { what: 'does not speak TLS on this port', wayOut: 'name its TLS port, or write redis://', lasting: true },
  ],
  [
    /certificate required|handshake failure/i,
    { what: "wants a client's certificate", wayOut: 'name it: ?cert=FILE&key=FILE', lasting: true },
  ],
  [
    /no answer yet/,
    { what: 'does not answer', wayOut: 'check host and port, and TLS: rediss:// is with it, redis:// without' },
  ],
  [/ECONNRESET|EPIPE/, { what: 'closed the connection', wayOut: 'see its log; TLS is rediss://, redis:// is without' }],
  [/ENOTFOUND|EAI_AGAIN/, { what: 'has a host that no DNS knows', wayOut: 'check its name' }],
  [
    /ECONNREFUSED|ENOENT|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|EACCES/,
    { what: 'cannot be reached', wayOut: 'start it, or correct host and port' },
  ],
]

/** How a URL, as people see it, and an error become one line without a secret. */
export function explain(name: string, error: unknown): string {
  const message = messageOf(error)
  const { what, wayOut } = troubleOf(error) ?? { what: `failed: ${message}`, wayOut: 'see its log' }
  const said = what.endsWith(message) ? '' : ` (${message.replaceAll(/\s+/g, ' ').slice(0, 200)})`
  return `state ${name}: ${what}${said}; ${wayOut}`
}

/** What is known about an error. */
export function troubleOf(error: unknown): Trouble | undefined {
  if (!(error instanceof Error)) return undefined
  const { code } = error as { code?: unknown }
  const text = `${messageOf(error)} ${typeof code === 'string' ? code : ''}`
  return TROUBLES.find(([pattern]) => pattern.test(text))?.[1]
}

/** Of an error that stands for several, the one that tells why. */
function messageOf(error: unknown): string {
  const { errors, lastNodeError, message } = error as {
    errors?: readonly Error[]
    lastNodeError?: Error | null
    message?: unknown
  }
  if (lastNodeError instanceof Error) return messageOf(lastNodeError)
  if (errors?.[0] !== undefined) return messageOf(errors[0])
  return typeof message === 'string' && message !== '' ? message : String(error)
}
