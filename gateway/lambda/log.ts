/** Says what happens. */
export type Log = (
  level: 'info' | 'warn' | 'error',
  message: string,
  details?: Readonly<Record<string, unknown>>,
) => void

/** Lines as the other commands write them; Lambda puts them into the function's log. */
export const log: Log = (level, message, details = {}) => {
  const time = new Date().toISOString()
  process.stderr.write(`${JSON.stringify({ level, time, component: 'extension', ...details, msg: message })}\n`)
}
