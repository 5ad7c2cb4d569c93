/** How long a reader that has stopped reading may hold up the end. */
const LAST_WORDS_MS = 1_000

/** Ends the process once what it printed is read, whatever else is still open. */
export async function exit(code: number): Promise<void> {
  const written = new Promise<void>((resolve) => process.stdout.write('', () => resolve()))
  const late = new Promise<void>((resolve) => setTimeout(resolve, LAST_WORDS_MS))
  await Promise.race([written, late])
  process.exit(code)
}
