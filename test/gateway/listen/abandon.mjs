// Listens at a Unix socket and is killed, so that its file stays: abandon.mjs stream|datagram PATH
import { createServer } from 'node:net'

const [, , kind, path] = process.argv
const ready = () => process.kill(process.pid, 'SIGKILL')
if (kind === 'stream') createServer().listen(path, ready)
else {
  const { default: unixDgram } = await import('unix-dgram')
  unixDgram.createSocket('unix_dgram').once('listening', ready).bind(path)
}
