import { type Logger, type LoggerOptions, pino, stdTimeFunctions } from 'pino'

export type { Logger }

/** Logs as JSON lines on standard error, or as people read them when that is a terminal. */
export async function createLog(level: string): Promise<Logger> {
  const options: LoggerOptions = {
    level,
    // neither pid nor host: whoever gathers logs knows them
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  // written at once, so that nothing is missing of a program that ends right after
  if (!process.stderr.isTTY) return pino(options, pino.destination({ dest: 2, sync: true }))
  const { default: pretty } = await import('pino-pretty')
  const colorize = (process.env['NO_COLOR'] ?? '') === ''
  return pino(
    options,
    pretty({ destination: 2, sync: true, translateTime: 'SYS:HH:MM:ss', singleLine: true, colorize }),
  )
}
