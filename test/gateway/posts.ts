/** What is posted in tests of every listener that answers as a gateway does. */

export const GOOD = { type: 'counter', name: 'orders', value: 1 }

/** Measurements that are none, and what their rejection says. */
export function badMeasurements(): [measurement: unknown, reason: string][] {
  const ahead = Date.now() / 1000 + 10_000
  return [
    [null, 'a measurement is an object'],
    [17, 'a measurement is an object'],
    [[GOOD], 'a measurement is an object'],
    [{ ...GOOD, type: 'counters' }, 'type must be'],
    [{ ...GOOD, type: 1 }, 'type must be'],
    [{ ...GOOD, type: '__proto__' }, 'type must be'],
    [{ ...GOOD, name: undefined }, 'name must be'],
    [{ ...GOOD, name: '' }, 'name must be'],
    [{ ...GOOD, name: 'x'.repeat(256) }, 'name must be a text of 1 to 255 bytes'],
    [{ ...GOOD, name: 'a\nb' }, 'line break'],
    [{ ...GOOD, value: undefined }, 'value must be a finite number'],
    [{ ...GOOD, value: '1' }, 'value must be a finite number'],
    [{ ...GOOD, value: null }, 'value must be a finite number'],
    [{ type: 'set', name: 's', value: {} }, 'value of a set'],
    [{ ...GOOD, level: 'a|b' }, 'level'],
    [{ ...GOOD, level: '#00' }, 'level'],
    [{ ...GOOD, level: 5 }, 'level'],
    [{ ...GOOD, source: 5 }, 'source must be a text'],
    [{ ...GOOD, tags: 'route' }, 'tags must be an object'],
    [{ ...GOOD, tags: ['route'] }, 'tags must be an object'],
    [{ ...GOOD, tags: { route: null } }, 'tag "route"'],
    [{ ...GOOD, tags: { '': 'x' } }, 'tag key must be a text of 1 to 128 bytes'],
    [{ ...GOOD, rate: 0 }, 'rate must be'],
    [{ ...GOOD, rate: 1.5 }, 'rate must be'],
    [{ type: 'gauge', name: 'g', value: 1, rate: 0.5 }, 'rate does not apply'],
    [{ ...GOOD, unit: 'ms' }, 'unit does not apply'],
    [{ type: 'timer', name: 't', value: 1, unit: 'min' }, 'unit must be'],
    [{ ...GOOD, timestamp: 'now' }, 'timestamp must be'],
    [{ ...GOOD, timestamp: -1 }, 'timestamp must be'],
    [{ type: 'gauge', name: 'g', value: 1, timestamp: ahead }, 'seconds ahead'],
  ]
}

/** Bodies that are no JSON measurements at all. */
export const UNREADABLE: [what: string, body: string | Uint8Array<ArrayBuffer>][] = [
  ['nothing', ''],
  ['no JSON', '[{"type":'],
  ['a JSON text', '"counter"'],
  ['null', 'null'],
  ['a number', '5'],
  ['an object without measurements', '{"type":"counter","name":"c","value":1}'],
  ['measurements that are no array', '{"measurements":{}}'],
  ['bytes that are no UTF-8', new Uint8Array([0x5b, 0x22, 0xff, 0x22, 0x5d])],
]

/** Types of content that are read as JSON, and that are not read. */
export const JSON_TYPES: [string][] = [
  ['application/json; charset=utf-8'],
  ['Application/JSON; charset="UTF-8"'],
  ['application/vnd.example.v1+json'],
]
export const OTHER_TYPES: [string][] = [
  ['text/plain'],
  ['application/x-www-form-urlencoded'],
  ['application/json; charset=latin1'],
  [''],
]

/** `Authorization` headers that do not let anybody in where the secret is `hunter2`. */
export const NO_TOKENS: [string | undefined][] = [
  [undefined],
  ['Bearer hunter'],
  ['Bearer hunter22'],
  ['Basic hunter2'],
  ['hunter2'],
  ['Bearer '],
  ['Bearer shop'],
]

/** Requests with a method that is not answered, and those that are. */
export const WRONG_METHODS: [path: string, method: string, allow: string][] = [
  ['/v1/metrics', 'GET', 'POST'],
  ['/v1/metrics', 'PUT', 'POST'],
  ['/v1/metrics', 'DELETE', 'POST'],
  ['/healthz', 'POST', 'GET, HEAD'],
  ['/readyz', 'DELETE', 'GET, HEAD'],
  ['/metrics', 'PUT', 'GET, HEAD'],
]

/** Where there is nothing. */
export const NO_PATHS: string[] = ['/', '/v1/metric', '/v1/metrics/x', '/%00']
