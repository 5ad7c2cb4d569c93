import type { Flag, Flags } from './flag.ts'

/** What a command is run with. */
export interface Invocation<Settings> {
  readonly settings: Settings
  /** Arguments that are no flags. */
  readonly args: readonly string[]
  /** What of `settings` was said in the same place: on the command line, in the environment, in the file, or nowhere. */
  readonly origins: Readonly<Record<keyof Settings, Origin>>
}

/** Where a setting comes from; the first that has it counts. */
export const ORIGINS = ['flag', 'environment', 'config', 'default'] as const
export type Origin = (typeof ORIGINS)[number]

/** A command whose settings are nobody's business. */
export type AnyCommand = Omit<Command<object>, 'flags'> & { readonly flags: Readonly<Record<string, Flag<unknown>>> }

/** One command: what the help says of it, what it takes, and where its code is. */
export interface Command<Settings> {
  readonly name: string
  /** One line for the list of commands. */
  readonly summary: string
  /** A paragraph for its own help. */
  readonly description: string
  /** In the notation of the help: `[names...]`. */
  readonly argument?: string
  readonly flags: Flags<Settings>
  /** Lines to paste, each behind what it does. */
  readonly examples: readonly (readonly [what: string, line: string])[]
  /** Loads the code, which for other commands stays where it is, and runs it; answers the exit code. */
  run(invocation: Invocation<Settings>): Promise<number>
}
