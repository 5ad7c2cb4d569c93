import { expect } from 'vitest'
import type { Account } from './publishers.ts'
import type { System } from './system.ts'

/** Ends a system and has the test fail, with all that helps to find out why, when a law was broken. */
export async function expectLaws(
  system: System,
  accounts: readonly Account[],
  loses: 'nothing' | 'perhaps',
): Promise<void> {
  const broken = await system.end(accounts, loses)
  expect(broken.length, broken.length === 0 ? '' : system.report(broken)).toBe(0)
}
