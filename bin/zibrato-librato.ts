#!/usr/bin/env node
import { librato } from './cli/commands.ts'
import { exit } from './cli/exit.ts'
import { runCommand } from './cli/program.ts'

await exit(await runCommand('zibrato-librato', librato, process.argv.slice(2)))
