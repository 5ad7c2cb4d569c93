import type { JournalLog } from './journal.ts'
import { State } from './state.ts'

/** Workers of a group that share its shards out among them: what {@link State} is to one worker, for many. */
export abstract class SharedState extends State {
  /** This worker, as others name it. */
  abstract readonly id: string

  /** How long a worker may say nothing before its shards are free for others, ms. */
  abstract readonly leaseMs: number

  /** The log that all groups share, where there is one: then shards have none of their own. */
  readonly journal: JournalLog | undefined = undefined

  /**
   * Called with shards that turned out to be another worker's by now, or nobody's: whoever holds them in memory lets go of
   * them. What was appended or committed for them meanwhile was refused.
   */
  onLost: (shards: readonly number[]) => void = () => {}

  /**
   * Called with shards of whom the storage has lost what was committed: the next commit of each must carry a full snapshot.
   */
  onReset: (shards: readonly number[]) => void = () => {}

  /**
   * Called with shards of which this worker may have read other entries than there are: they are to be given up and acquired
   * anew, with what is committed and what comes behind it. Until then nothing of them is committed.
   */
  onStale: (shards: readonly number[]) => void = () => {}

  /**
   * Says that this worker lives, and renews its leases. After {@link leave} it only renews them.
   *
   * @returns the ids of all workers of the group that live, this one's included
   * @throws UsageError at the first call when others live whose settings differ
   */
  abstract beat(): Promise<readonly string[]>

  /**
   * Whether a shard is certainly this worker's still, and not stale: by this machine's clock its lease is not over. One that
   * stood still for longer than that asks before it does what cannot be fenced, such as to call a backend.
   */
  abstract holds(shard: number): boolean

  /** Gives shards up, so that another worker has them at once. Those that are not this worker's are passed over. */
  abstract giveUp(shards: readonly number[]): Promise<void>

  /**
   * Says that this worker goes: it is not counted among the living any more. It keeps the shards it has not given up, for as
   * long as it beats.
   *
   * @returns the ids of the others that live; of workers that leave at the same time only the last is told that it is alone
   */
  abstract leave(): Promise<readonly string[]>
}
