#!/usr/bin/env node
import { broker } from './cli/commands.ts'
import { exit } from './cli/exit.ts'
import { runCommand } from './cli/program.ts'

await exit(await runCommand('zibrato-broker', broker, process.argv.slice(2)))
