import type { Claim, Group } from './group.ts'

/**
 * Which families have which names: of their own, and of their samples. Where two have the same, neither can be told of as
 * what it is.
 */
export class Claims {
  // mostly there is one
  readonly #byName = new Map<string, Claim | Claim[]>()
  readonly #shared = new Set<Claim>()

  add(group: Group): void {
    for (const claim of group.claims) {
      for (const name of namesOf(claim)) {
        const others = this.of(name)
        this.#byName.set(name, others.length === 0 ? claim : [...others, claim])
        if (others.length > 0) for (const each of [...others, claim]) this.#shared.add(each)
      }
    }
  }

  remove(group: Group): void {
    for (const claim of group.claims) {
      this.#shared.delete(claim)
      for (const name of namesOf(claim)) {
        const left = this.of(name).filter((each) => each !== claim)
        const [first, second] = left
        if (first === undefined) this.#byName.delete(name)
        else this.#byName.set(name, second === undefined ? first : left)
        for (const each of left) if (!this.#meetsOthers(each)) this.#shared.delete(each)
      }
    }
  }

  /** Whether another family has one of its names. */
  isShared(claim: Claim): boolean {
    return this.#shared.has(claim)
  }

  /** The families that have a name. */
  of(name: string): readonly Claim[] {
    const claims = this.#byName.get(name)
    return claims === undefined ? [] : Array.isArray(claims) ? claims : [claims]
  }

  #meetsOthers(claim: Claim): boolean {
    return [...namesOf(claim)].some((name) => this.of(name).length > 1)
  }
}

function namesOf({ group: { base }, family }: Claim): Set<string> {
  const names = new Set([base + family.suffix, base + family.openSuffix])
  for (const { suffix } of family.metrics) names.add(base + suffix)
  return names
}
