/** Names of the files in `cases/`, in the order in which they run. */
export const CASES = [
  'counter',
  'labels',
  'record',
  'timer',
  'time',
  'seal',
  'http-json',
  'http-bundle',
  'udp',
  'broker',
  'merge',
  'memory',
  'commit',
  'flush',
]
