import { Command as Commander, CommanderError, Option } from 'commander'
import { UsageError, ZibratoError } from '../../client/errors.ts'
import { VERSION } from '../../client/version.ts'
import type { AnyCommand } from './command.ts'
import { COMMANDS, librato } from './commands.ts'
import { type Flag, variableOf } from './flag.ts'
import { config as configFlag } from './flags.ts'
import { type Given, readConfig, settle } from './settings.ts'

const DONE = 0
const FAILED = 1
const WRONG_USAGE = 2

/** `zibrato <command>`. @returns the exit code */
export function runProgram(argv: readonly string[]): Promise<number> {
  const program = new Commander('zibrato')
    .description('Count, time and gauge code on servers and edge functions: metrics that never lose count.')
    .version(VERSION)
    .helpCommand('help [command]', 'says what a command takes, with examples')
    .addHelpText('after', examplesText(COMMANDS.map(({ summary, examples }) => [summary, examples[0]?.[1] ?? ''])))
    .addHelpText('after', '\nzibrato COMMAND --help says more. Exit codes: 0 done, 1 failed, 2 wrong usage.')
  const finished: { code: number } = { code: DONE }
  for (const command of COMMANDS) define(program.command(command.name), `zibrato ${command.name}`, command, finished)
  return parse(program, argv, finished)
}

/** A command that is a program of its own. @returns the exit code */
export function runCommand(name: string, command: AnyCommand, argv: readonly string[]): Promise<number> {
  const finished: { code: number } = { code: DONE }
  return parse(define(new Commander(name).version(VERSION), name, command, finished), argv, finished)
}

function define(target: Commander, called: string, command: AnyCommand, finished: { code: number }): Commander {
  const flags: readonly Flag<unknown>[] = [...Object.values(command.flags), configFlag]
  target.summary(command.summary).description(command.description)
  if (command.argument !== undefined) target.argument(command.argument)
  for (const flag of flags) target.addOption(optionOf(flag))
  const examples = command.examples.map(
    ([what, line]) => [what, line.replace(`zibrato ${command.name}`, called)] as const,
  )
  target.addHelpText('after', examplesText(examples))
  target.addHelpText('after', `\n${ELSEWHERE}`)
  return target.action(async (...parsed: unknown[]) => {
    const args = command.argument === undefined ? [] : (parsed[0] as readonly string[])
    const given = namesOf(flags, target.opts())
    // above what a name and secrets on the command line would tell everybody who lists processes
    process.title = called
    const where = settle({ config: configFlag }, { given, env: process.env, config: {} }).settings.config
    const config = where === undefined ? {} : readConfig(where, KNOWN)
    const { settings, origins } = settle(command.flags, { given, env: process.env, config })
    finished.code = await command.run({ settings, origins, args })
  })
}

const KNOWN: ReadonlySet<string> = new Set(
  [...COMMANDS, librato].flatMap(({ flags }) => Object.values(flags).map(({ name }) => name)),
)

const ELSEWHERE = `A flag such as --${configFlag.name} can also be said as ${variableOf(configFlag)}, and all but that one in the file it names:
{"flush": "10s"}. A flag goes before the environment, and that before the file.`

function optionOf({ name, placeholder, help, fallback, repeatable }: Flag<unknown>): Option {
  const notes = [...(repeatable ? ['repeatable'] : []), ...(fallback === undefined ? [] : [`default: ${fallback}`])]
  const option = new Option(
    placeholder === undefined ? `--${name}` : `--${name} <${placeholder}>`,
    notes.length === 0 ? help : `${help} (${notes.join('; ')})`,
  )
  return repeatable
    ? option.argParser((text: string, before: readonly string[] | undefined) => [...(before ?? []), text])
    : option
}

/** What commander found, by the names of the flags instead of its own. */
function namesOf(flags: readonly Flag<unknown>[], found: Readonly<Record<string, unknown>>): Given {
  return Object.fromEntries(flags.map((flag) => [flag.name, found[optionOf(flag).attributeName()] as Given[string]]))
}

function examplesText(examples: readonly (readonly [what: string, line: string])[]): string {
  return `\nExamples:${examples.map(([what, line]) => `\n  # ${what}\n  ${line}`).join('')}`
}

async function parse(
  program: Commander,
  argv: readonly string[],
  finished: { readonly code: number },
): Promise<number> {
  for (const each of [program, ...program.commands]) each.exitOverride().configureOutput({ writeErr: () => {} })
  // a reader that has gone away (`| head`) is no reason to fail; whoever prints much looks after it
  process.stdout.on('error', () => {})
  try {
    await program.parseAsync(argv, { from: 'user' })
    return finished.code
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return DONE
    const [code, message] = judge(error, program, argv)
    process.stderr.write(`${program.name()}: ${message.replaceAll(/\s*[\r\n]+\s*/g, ' ')}\n`)
    return code
  }
}

function judge(error: unknown, program: Commander, argv: readonly string[]): [code: number, message: string] {
  if (error instanceof CommanderError) {
    const called = program.commands.find((command) => command.name() === argv[0])
    const help = `${program.name()}${called === undefined ? '' : ` ${called.name()}`} --help`
    if (error.code !== 'commander.help') {
      return [WRONG_USAGE, `${error.message.replaceAll(/^error: |\.$/g, '')}; see ${help}`]
    }
    const [first, asked] = argv
    if (first === 'help' && asked !== undefined) return [WRONG_USAGE, `unknown command '${asked}'; see ${help}`]
    const names = program.commands.map((command) => command.name()).join(', ')
    return [WRONG_USAGE, `no command was given; use one of ${names}, or see ${help}`]
  }
  if (error instanceof UsageError) return [WRONG_USAGE, error.message]
  if (error instanceof ZibratoError) return [FAILED, error.message]
  const { message, stack } = error instanceof Error ? error : new Error(String(error))
  return [FAILED, process.env['ZIBRATO_LOG_LEVEL'] === 'debug' ? (stack ?? message) : message]
}
