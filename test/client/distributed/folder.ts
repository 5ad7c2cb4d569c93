import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A folder for sockets, and what is to be closed before it goes; short, because paths of sockets are. */
export class Folder implements AsyncDisposable {
  readonly path: string = mkdtempSync(join(tmpdir(), 'zd-'))
  readonly #closables: { close(): unknown }[] = []

  get address(): string {
    return `ipc://${join(this.path, 'm')}`
  }

  /** Closes it before the folder goes. */
  keep<Closable extends { close(): unknown }>(closable: Closable): Closable {
    this.#closables.push(closable)
    return closable
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const closable of this.#closables.reverse()) await closable.close()
    rmSync(this.path, { recursive: true, force: true })
  }
}
