import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Members } from '../../../client/sketch/members.ts'
import { utf8 } from '../../../client/wire/bytes.ts'
import { hashMember, hashMemberBytes } from '../../../client/wire/hash.ts'

test('a member counts the same as a text and as its UTF-8, wherever that stands', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.nat(3), (text, before) => {
      const bytes = new Uint8Array([...Array.from({ length: before }, () => 65), ...utf8(text), 66])
      const asText = { high: 0, low: 0 }
      const asBytes = { high: 0, low: 0 }
      hashMember(text, asText)
      hashMemberBytes(bytes, before, bytes.length - 1, asBytes)
      expect(asBytes).toEqual(asText)
      const members = new Members()
      members.add(text)
      members.addBytes(bytes, before, bytes.length - 1)
      expect(members.size).toBe(1)
    }),
  )
})
