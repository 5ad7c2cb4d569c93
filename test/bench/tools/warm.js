import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { client } from './client.js'

const TIMES = 20_000

/*
 * A program uses a library in more than one way, and what the compiler makes of its functions depends on it: used for
 * nothing but counters without labels, prom-client's `inc` takes a third of the time it takes anywhere else. So each
 * library is first used as programs use it.
 */

export function useZibrato() {
  const { z } = client()
  const counter = z.counter('requests')
  const gauge = z.gauge('queue')
  const timer = z.timer('db')
  const meter = z.meter('events')
  for (let index = 0; index < TIMES; index++) {
    counter.with({ route: `/${index & 63}`, status: 200 + (index & 3) }).inc()
    counter.with({ route: `/${index & 63}` }).inc(2.5)
    gauge.set(index * 1.5)
    timer.record(index)
    meter.mark(index & 7)
  }
}

export function usePromClient() {
  const registers = [new Registry()]
  const counter = new Counter({ name: 'requests', help: 'requests', labelNames: ['route', 'status'], registers })
  const gauge = new Gauge({ name: 'queue', help: 'queue', registers })
  const histogram = new Histogram({ name: 'db', help: 'db', registers })
  const events = new Counter({ name: 'events', help: 'events', registers })
  for (let index = 0; index < TIMES; index++) {
    counter.inc({ route: `/${index & 63}`, status: 200 + (index & 3) })
    counter.inc({ route: `/${index & 63}` }, 2.5)
    gauge.set(index * 1.5)
    histogram.observe(index)
    events.inc(index & 7)
  }
}
