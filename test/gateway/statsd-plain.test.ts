import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { StatsdHarness } from './statsd-harness.ts'

type Stats = ReturnType<StatsdHarness['intake']['stats']>

const name = fc.oneof(
  fc.stringMatching(/^[a-c.]{1,9}$/),
  fc.constantFrom(
    '',
    '_e{1,1}',
    'a|b',
    'x'.repeat(252),
    'x'.repeat(255),
    'x'.repeat(256),
    'x'.repeat(300),
    'caf\u00e9',
  ),
)
const value = fc.oneof(
  fc.nat({ max: 2_000_000_000 }).map(String),
  fc.constantFrom(
    '',
    '0',
    '007',
    '999999999',
    '1000000000',
    '99999999999999999999',
    '1.5',
    '-3',
    '+3',
    '1x',
    ' 1',
    '1:2',
  ),
)
const type = fc.constantFrom('c', 'c', 'ms', 'g', 'h', 'd', 'm', 's', 'mss', 'x', '', 'c ')
const rate = fc.constantFrom(
  '',
  '',
  '|@0.1',
  '|@1',
  '|@.5',
  '|@0',
  '|@',
  '|@2',
  '|@1e-1',
  '|@0.1.2',
  '|@0.0000001',
  '|@0.5 ',
)
const tags = fc.constantFrom('', '', '|#', '|#k:v', '|#k:v,bare', '|#k:v ', '|#k:v|#l:w', '|#abcdefg:h', '|# ')
const behind = fc.constantFrom(
  '',
  '',
  '|c:ci-1',
  '|c:ci-1|e:x',
  '|',
  '|T1700000000',
  '|Tx',
  '|@0.5',
  '|c:1|#m:n',
  '|c:1 ',
)
const blank = fc.constantFrom('', '', '', ' ', '\r', '\t \r')
const line = fc.tuple(name, value, type, rate, tags, behind, blank)

describe('a line of a series that is known', () => {
  test('comes to what it does with a field in between that nobody knows, whatever it is', () => {
    let taken = 0
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 30 }), fc.boolean(), (lines, atOnce) => {
        const send = (harness: StatsdHarness, between: string): void => {
          const texts = lines.map(
            ([key, number, kind, share, labels, rest, end]) =>
              `${key}:${number}|${kind}${between}${share}${labels}${rest}${end}`,
          )
          // known from the first time on
          for (let time = 0; time < 3; time++) {
            if (atOnce) harness.send(...texts)
            else for (const text of texts) harness.send(text)
          }
          harness.intake.flush()
        }
        const harness = new StatsdHarness()
        send(harness, '')
        const other = new StatsdHarness()
        send(other, '|z')
        expect(harness.taken()).toEqual(other.taken())
        const figures = ({ lines: read, metrics, badByReason, events, overflowed, series }: Stats): unknown[] => [
          [read, metrics, events, overflowed, series],
          badByReason,
        ]
        expect(figures(harness.intake.stats())).toEqual(figures(other.intake.stats()))
        taken += harness.intake.stats().metrics
      }),
      { numRuns: 400 },
    )
    expect(taken).toBeGreaterThan(1_000)
  })

  test('ends before blanks, also where another has them in its tags', () => {
    const harness = new StatsdHarness()
    harness.send('a:1|c|#k:v |c:1', 'a:2|c|#k:v')
    harness.send('a:4|c|#k:v ')
    harness.intake.flush()
    expect(harness.taken()).toMatchObject({ 'counter a k=v ': { sum: 1 }, 'counter a k=v': { sum: 6 } })
  })

  test('is not found in what stood in its place before', () => {
    const harness = new StatsdHarness()
    harness.send('a:1|c', 'b:22222222|c', 'cc:3|c')
    // `b` and what follows is still there behind the last line
    harness.send('a:1|c', 'b')
    harness.send('a:1|c', 'b:2')
    harness.send('a:1|c', 'b:22222222')
    harness.send('a:1|c', 'b:22222222|')
    harness.intake.flush()
    expect(harness.taken()).toMatchObject({ 'counter a': { sum: 5 }, 'counter b': { sum: 22_222_222 } })
    expect(harness.intake.stats()).toMatchObject({ lines: 11, metrics: 7, bad: 4 })
  })
})
