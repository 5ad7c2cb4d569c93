/** What statsd prints, with its time, for whoever waits for that line. */
export function serverIsUp(now: Date = new Date()): string {
  const month = now.toLocaleString('en-US', { month: 'short' })
  return `${now.getDate()} ${month} ${now.toTimeString().slice(0, 8)} - server is up\n`
}
