import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { platform } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { until } from '../../until.ts'

interface Report {
  readonly port: number
  readonly lines: number
  readonly packets: number
  readonly kernelDrops: number
  readonly warnings: readonly string[]
}

const children: ChildProcess[] = []

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** A listener in a process of its own. */
class Receiver {
  readonly child: ChildProcess
  readonly reports: Report[] = []
  readonly ended: Promise<unknown>

  constructor(host: string, bufferBytes: number) {
    const script = join(import.meta.dirname, 'receiver.ts')
    this.child = spawn(process.execPath, ['--import', 'tsx', script, host, String(bufferBytes)])
    children.push(this.child)
    let text = ''
    this.child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      const lines = text.split('\n')
      text = lines.pop() as string
      this.reports.push(...lines.map((line) => JSON.parse(line) as Report))
    })
    this.ended = new Promise((resolve) => this.child.once('close', resolve))
  }

  async report(): Promise<Report> {
    const before = this.reports.length
    if (before > 0) this.child.stdin?.write('\n')
    await until(() => this.reports.length > before)
    return this.reports.at(-1) as Report
  }

  /** Its state in the table of processes: `T` is stopped. */
  get state(): string {
    return /\) (\S)/.exec(readFileSync(`/proc/${this.child.pid}/stat`, 'utf8'))?.[1] ?? ''
  }
}

describe.runIf(platform() === 'linux')('what the kernel drops', () => {
  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['::1', '::1'],
    ['0.0.0.0', '127.0.0.1'],
    ['::', '127.0.0.1'],
  ])('at %s while the receiver stands still is counted exactly, and told with what to do', async (host, to) => {
    const receiver = new Receiver(host, 8_192)
    const { port } = await receiver.report()
    receiver.child.kill('SIGSTOP')
    await until(() => receiver.state === 'T')
    const socket = createSocket(to.includes(':') ? 'udp6' : 'udp4')
    for (let index = 0; index < 500; index++) {
      await new Promise<void>((resolve) => socket.send('a:1|c', port, to, () => resolve()))
    }
    socket.close()
    receiver.child.kill('SIGCONT')
    let last = await receiver.report()
    await until(async () => {
      last = await receiver.report()
      return last.packets + last.kernelDrops === 500
    })
    expect(last.kernelDrops).toBeGreaterThan(300)
    expect(last.lines).toBe(last.packets)
    expect(last.warnings).toEqual([
      expect.stringMatching(
        /^udp: the kernel dropped \d+ packets, .* buffer of 8192 bytes; raise it \(sysctl net\.core\.rmem_max, then --udp-buffer\)/,
      ),
    ])
    expect(last.warnings[0]).toContain(`dropped ${last.kernelDrops} packets`)
  })

  test('just before it closes is told at the end', async () => {
    const receiver = new Receiver('127.0.0.1', 8_192)
    const { port } = await receiver.report()
    const socket = createSocket('udp4')
    const flood = async (): Promise<void> => {
      receiver.child.kill('SIGSTOP')
      await until(() => receiver.state === 'T')
      for (let index = 0; index < 500; index++) {
        await new Promise<void>((resolve) => socket.send('a:1|c', port, '127.0.0.1', () => resolve()))
      }
    }
    await flood()
    receiver.child.kill('SIGCONT')
    await until(async () => (await receiver.report()).warnings.length === 1)
    // within the minute that the first warning stands for
    await flood()
    receiver.child.kill('SIGTERM')
    receiver.child.kill('SIGCONT')
    await receiver.ended
    socket.close()
    const last = receiver.reports.at(-1) as Report
    expect(last.packets + last.kernelDrops).toBe(1_000)
    const told = last.warnings.map((warning) => Number(/dropped (\d+) packets/.exec(warning)?.[1]))
    expect([told.length, told.reduce((sum, drops) => sum + drops)]).toEqual([2, last.kernelDrops])
  })
})
