import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { UsageError } from '../../../client/errors.ts'
import { Ledger } from '../ledger.ts'
import type { StateSettings } from '../state.ts'
import { EntryIndex } from './entry-index.ts'
import { LogFile, syncDirectory } from './log-file.ts'
import { type LogRecord, MAGIC, type Piece, encodeRecord } from './record.ts'
import { scan } from './scan.ts'

export const LOG = 'log'
/** A rewritten log before it takes the place of the old one. */
export const NEW_LOG = 'log.new'
/** What could not be read of a log, and was cut off. */
export const CUT_LOG = 'log.cut'

// copied in one turn of the event loop
const SLICE = 1 << 20

export interface LoadOptions extends StateSettings {
  readonly directory: string
  /** The state, as messages begin. */
  readonly name: string
  readonly nowMs: number
  readonly onWarning: (message: string) => void
}

export interface Loaded {
  readonly log: LogFile
  readonly ledger: Ledger<Piece, EntryIndex>
}

/**
 * Opens a directory's log, or begins one, and reads what it holds into a ledger. A torn or corrupt rest is cut off with a
 * warning; what belongs to another group or format is refused untouched.
 *
 * @throws UsageError
 */
export async function loadLog(options: LoadOptions): Promise<Loaded> {
  const { directory, name, group, nowMs, onWarning } = options
  // a rewrite that its process did not live to finish
  await rm(join(directory, NEW_LOG), { force: true })
  const log = await openLog(options)
  try {
    const ledger = new Ledger<Piece, EntryIndex>(name, () => new EntryIndex())
    const readable = await checkMagic(log, name)
    let known: string | undefined
    const { end, damage } = readable
      ? await scan(log, MAGIC.length, (record) => {
          if (record.kind === 'header') known = record.group
          apply(ledger, record)
        })
      : { end: 0, damage: 'it is torn' }
    if (known !== undefined && known !== group) {
      throw new UsageError(
        `${name} was made for group ${known}, this worker is of group ${group}: choose another directory, or --group ${known}`,
      )
    }
    if (damage !== undefined) await cut(log, end, damage, options)
    ledger.doubt()
    await adopt(ledger, log, known, options)
    if (ledger.lastMs > nowMs + 60_000) {
      const ahead = Math.round((ledger.lastMs - nowMs) / 1000)
      onWarning(
        `${name}: its last entry is ${ahead} s ahead of this machine's clock, and its time never goes back: windows wait ` +
          'until the clock has caught up',
      )
    }
    return { log, ledger }
  } catch (error) {
    await log.close()
    throw error
  }
}

async function openLog({ directory, group, backends }: LoadOptions): Promise<LogFile> {
  try {
    return await LogFile.open(join(directory, LOG))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const log = await LogFile.create(join(directory, NEW_LOG))
  try {
    await log.append([MAGIC, ...(await encodeRecord({ kind: 'header', lastMs: 0, group, backends }))], true)
    await rename(join(directory, NEW_LOG), join(directory, LOG))
    await syncDirectory(directory)
    return log
  } catch (error) {
    await log.close()
    throw error
  }
}

/** False when not even the first bytes are whole. */
async function checkMagic(log: LogFile, name: string): Promise<boolean> {
  const start = await log.read(0, Math.min(MAGIC.length, log.size))
  const differs = start.findIndex((byte, index) => byte !== MAGIC[index])
  if (differs < 0) return start.length === MAGIC.length
  if (differs < MAGIC.length - 1) {
    throw new UsageError(`${name}: its file ${LOG} is not a state log: choose another directory`)
  }
  throw new UsageError(
    `${name}: its log is of format version ${start[differs]}, this Zibrato reads version ${MAGIC[differs]}: use the ` +
      'Zibrato that wrote it, or choose another directory',
  )
}

async function cut(
  log: LogFile,
  end: number,
  damage: string,
  { directory, name, onWarning }: LoadOptions,
): Promise<void> {
  const bytes = log.size - end
  if (bytes === 0) return
  let where = `they are kept in ${CUT_LOG}`
  try {
    await copyRest(log, end, join(directory, CUT_LOG))
  } catch (error) {
    where = `they could not be kept (${(error as Error).message})`
  }
  await log.truncate(end)
  onWarning(
    `${name}: the log cannot be read from byte ${end} on (${damage}): its last ${bytes} bytes were cut off, ${where}; ` +
      'all that stands before them is used',
  )
}

async function copyRest(log: LogFile, from: number, path: string): Promise<void> {
  const copy = await LogFile.create(path)
  try {
    for (let at = from; at < log.size; at += SLICE) {
      await copy.append([await log.read(at, Math.min(SLICE, log.size - at))], false)
    }
  } finally {
    await copy.close()
  }
}

/** Notes for whom windows are committed from here on. */
async function adopt(
  ledger: Ledger<Piece, EntryIndex>,
  log: LogFile,
  known: string | undefined,
  { name, group, backends, onWarning }: LoadOptions,
): Promise<void> {
  const same = ledger.backends.length === backends.length && backends.every((key) => ledger.backends.includes(key))
  if (known !== undefined && same) return
  const left = ledger.configure(backends)
  const header = await encodeRecord({ kind: 'header', lastMs: ledger.lastMs, group, backends: ledger.backends })
  await log.append(log.size === 0 ? [MAGIC, ...header] : header, true)
  for (const [backend, count] of left) {
    onWarning(`${name}: ${backend} is no longer a backend; ${count} windows that waited for it were given up`)
  }
}

function apply(ledger: Ledger<Piece, EntryIndex>, record: LogRecord): void {
  switch (record.kind) {
    case 'header':
      ledger.tick(record.lastMs)
      ledger.configure(record.backends)
      break
    case 'bundle': {
      const { log } = ledger.shard(record.shard)
      if (record.number !== log.next) throw new Error(`entry ${record.number} stands where ${log.next} should`)
      log.push(record.bundle.offset, record.bundle.length)
      ledger.tick(record.timeMs)
      break
    }
    case 'commit':
      ledger.tick(record.timeMs)
      ledger.commit(record.parts, record.dropped)
      break
    case 'shard': {
      const shard = ledger.shard(record.shard)
      shard.end = record.end
      shard.through = record.through
      shard.log.trim(record.through)
      break
    }
    case 'snapshot':
      ledger.addSnapshot(record.shard, record.snapshot)
      break
    case 'window': {
      const { shard, end, window: piece, pending, attempted: doubted } = record
      ledger.addWindow({ shard, end, piece, pending, doubted })
      break
    }
    default:
      ledger.mark(record.kind, record.backend, record.ids)
  }
}
