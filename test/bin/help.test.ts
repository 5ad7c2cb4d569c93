import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { COMMANDS } from '../../bin/cli/commands.ts'
import { type Flag, variableOf } from '../../bin/cli/flag.ts'
import { config } from '../../bin/cli/flags.ts'
import { VERSION } from '../../client/version.ts'
import { Playground } from '../flow/processes.ts'
import { zibrato } from './cli.ts'

const readme = readFileSync(join(resolve(import.meta.dirname, '../..'), 'bin/README.md'), 'utf8')

/** Rows of the table of flags: each flag as `command --flag <value>`, with its default. */
const documented = new Map(
  [...readme.matchAll(/^\| `(--[^`]+)` *\| ([^|]+) \| ([^|]+) \|/gm)].flatMap(([, flag, commands, fallback]) =>
    (commands as string)
      .split(',')
      .map((command): [string, string] => [`${command.trim()} ${flag}`, (fallback as string).trim()]),
  ),
)

describe('the help', () => {
  test('lists every command and says how to go on', async () => {
    await using ground = new Playground()
    for (const args of [['--help'], ['-h'], ['help']]) {
      const { code, stdout, stderr } = await zibrato(ground, args)
      expect([code, stderr]).toEqual([0, ''])
      for (const { name } of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'))
      expect(stdout).toContain('Examples:')
    }
    const { stdout: ofUp } = await zibrato(ground, ['up', '--help'])
    expect(await zibrato(ground, ['help', 'up'])).toMatchObject({ code: 0, stdout: ofUp, stderr: '' })
    expect(await zibrato(ground, ['--version'])).toMatchObject({ code: 0, stdout: `${VERSION}\n` })
  })

  test.each(COMMANDS)(
    'of zibrato $name has examples and the flags of the table, with its defaults',
    async (command) => {
      await using ground = new Playground()
      const { code, stdout, stderr } = await zibrato(ground, [command.name, '--help'])
      expect([code, stderr]).toEqual([0, ''])
      for (const [, line] of command.examples) expect(stdout).toContain(line)
      // the help is wrapped to the width of a terminal
      const text = stdout.replaceAll(/\s+/g, ' ')
      const flags = [...Object.values<Flag<unknown>>(command.flags), config].map((flag) => ({
        ...flag,
        usage: flag.placeholder === undefined ? `--${flag.name}` : `--${flag.name} <${flag.placeholder}>`,
      }))
      for (const { usage, help } of flags) expect(text).toContain(` ${usage} ${help}`)
      const stated = flags.filter(({ fallback }) => fallback !== undefined)
      for (const { usage, fallback } of stated) {
        expect(text.slice(text.indexOf(` ${usage} `))).toContain(`default: ${fallback})`)
      }
      const rows = new Map([...documented].filter(([row]) => row.startsWith(`${command.name} `)))
      expect([...rows.keys()].sort()).toEqual(flags.map(({ usage }) => `${command.name} ${usage}`).sort())
      expect(stated.map(({ usage }) => rows.get(`${command.name} ${usage}`))).toEqual(
        stated.map(({ fallback }) => `\`${fallback}\``),
      )
    },
  )
})

test('each flag has one variable', () => {
  for (const { flags } of COMMANDS) {
    const variables = Object.values(flags).map(variableOf)
    expect(new Set(variables).size).toBe(variables.length)
    for (const variable of variables) expect(variable).toMatch(/^ZIBRATO_[A-Z_]+$/)
  }
})

test('on a terminal, a start says what listens and what to paste, and the logs are readable', async () => {
  await using ground = new Playground()
  const cli = join(resolve(process.env['ZIBRATO_TEST_DIST'] ?? 'dist'), 'bin/zibrato.js')
  // util-linux gives it a terminal; exec, so that no shell stands between which would die of Ctrl-C itself
  const command = `exec ${process.execPath} ${cli} up --port 0 --http 0 --flush 1 --to file:out.jsonl`
  const up = ground.start('script', ['-qfec', command, '/dev/null'])
  const text = await up.output(({ stdout }) => (stdout.includes('Ctrl-C delivers') ? stdout : undefined), 'the welcome')
  const [http] = /http:\/\/127\.0\.0\.1:\d+/.exec(text) ?? []
  const broker = /tcp:\/\/127\.0\.0\.1:\d+/.exec(text)?.[0]
  expect(text).toMatch(/\d\d:\d\d:\d\d.*INFO.*listening/)
  const lines = text.split(/\r?\n/).map((line) => line.trim())
  const curl = lines.find((line) => line.startsWith('curl ')) as string
  expect(curl).toContain(`${http}/v1/metrics`)
  expect(lines.find((line) => line.includes(' send counter hello 1'))).toContain(`--broker ${broker}`)
  const [, udp = ''] = /udp:\/\/127\.0\.0\.1:(\d+)/.exec(text) ?? []
  expect(lines).toContain(`echo -n "hello:1|c" | nc -u -w0 127.0.0.1 ${udp}`)
  expect(lines.find((line) => line.includes("from 'zibrato'"))).toContain(`url: '${broker}'`)
  const pasted = ground.start('sh', ['-c', curl])
  expect(await pasted.ended).toBe(0)
  expect(pasted.stdout).toBe('{"accepted":1,"rejected":[]}')
  // as Ctrl-C does
  up.child.stdin?.write('\u0003')
  expect(await up.ended).toBe(0)
  expect(ground.sums('out.jsonl')).toEqual(new Map([['hello', 1]]))
})
