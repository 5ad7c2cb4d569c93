#!/usr/bin/env node
import { exit } from './cli/exit.ts'
import { runProgram } from './cli/program.ts'

await exit(await runProgram(process.argv.slice(2)))
