// Subscribes to everything at the port given, says so, and takes what comes until it is stopped.
import { Subscriber } from 'zeromq'

const socket = new Subscriber({ receiveHighWaterMark: 10, linger: 0 })
socket.connect(`tcp://127.0.0.1:${process.argv[2]}`)
socket.subscribe()
let taken = 0
for await (const _ of socket) if (++taken === 1) console.log('taking')
