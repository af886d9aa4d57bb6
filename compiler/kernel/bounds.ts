// Proofs that an integer expression is never negative, from loop extents, guards and what div, mod and min mean. Facts
// are linear inequalities over atoms; a proof subtracts multiples of facts until intervals suffice (Farkas, one fact at
// a time). It must not know statements: the verifier tells it which facts hold where.

import { addIndex, constantIndex, rangeOf, scaleIndex, subtractIndex } from './index.ts'
import type { Atom, Index, Range } from './index.ts'
import { printIndex } from './print.ts'

/** Σ scale·atom + constant; as a fact it is ≥ 0. Atoms are numbered by their text. */
interface Linear {
  readonly constant: number
  readonly terms: ReadonlyMap<number, number>
}

interface KnownAtom {
  readonly atom: Atom
  /** Later loops rank higher and are eliminated first: their extents speak of earlier ones. */
  readonly rank: number
  /** What div, mod and min promise about the atom, always true. */
  readonly facts: Linear[]
}

interface Scope {
  readonly facts: Linear[]
  readonly proven: Map<string, boolean>
  readonly variable?: string
}

/** Longest chain of facts in one proof. */
const DEEPEST_PROOF = 12
/** How many steps a proof may try before it counts as not found. */
const MOST_STEPS = 1000
/** A loop's variable outranks what is made of outer ones, however deep quotients and minimums lie in each other. */
const LOOP_RANK = 16
const LARGEST_SCALE = 2 ** 45

export class Bounds {
  readonly #atoms: KnownAtom[] = []
  readonly #numbers = new Map<string, number>()
  readonly #ranges = new Map<string, Range>()
  readonly #scopes: Scope[] = [{ facts: [], proven: new Map() }]
  #steps = 0

  /** 1 ≤ size ≤ bound. */
  addSize(name: string, bound: number): void {
    this.#ranges.set(name, { low: 1, high: bound })
  }

  /** From here to the matching `leave`, 0 ≤ name < extent. */
  enterLoop(name: string, extent: Index): void {
    const range = rangeOf(extent, this.#ranges)
    this.#scopes.push({ facts: [], proven: new Map(), variable: name })
    if (range) this.#ranges.set(name, { low: 0, high: Math.max(0, range.high - 1) })
    const last = subtractIndex(addIndex(extent, -1), {
      constant: 0,
      terms: [{ scale: 1, atom: { kind: 'variable', name } }],
    })
    this.#scopes.at(-1)?.facts.push(this.#linear(last))
  }

  /** From here to the matching `leave`, left < right. */
  enterGuard(left: Index, right: Index): void {
    const room = this.#linear(addIndex(subtractIndex(right, left), -1))
    this.#scopes.push({ facts: [room], proven: new Map() })
  }

  leave(): void {
    const scope = this.#scopes.pop()
    if (scope?.variable !== undefined) this.#ranges.delete(scope.variable)
  }

  /** The interval of an index without its guards; undefined where a name has no bound. */
  range(index: Index): Range | undefined {
    return rangeOf(index, this.#ranges)
  }

  /** Whether `index` ≥ 0 wherever execution can be now. False means not proven. */
  isNeverNegative(index: Index): boolean {
    const plain = rangeOf(index, this.#ranges)
    if (plain && plain.low >= 0) return true
    const proven = this.#scopes.at(-1)?.proven
    const key = printIndex(index)
    const known = proven?.get(key)
    if (known !== undefined) return known
    const found = this.#isProven(this.#linear(index)) || this.#hasNoNegativePart(index) || this.#isUnreachable()
    proven?.set(key, found)
    return found
  }

  /**
   * Whether nothing is subtracted and every part is proven by itself. Intervals over fractions lose what a factor hides:
   * from 4·q ≥ −2 follows q ≥ 0 for a whole q alone, but not for 4·q + r.
   */
  #hasNoNegativePart({ constant, terms }: Index): boolean {
    if (constant < 0 || terms.some(({ scale }) => scale < 0) || terms.length < 2) return false
    return terms.every(({ atom }) => this.isNeverNegative({ constant: 0, terms: [{ scale: 1, atom }] }))
  }

  #isProven(goal: Linear): boolean {
    this.#steps = 0
    return (
      this.#prove(goal, 1, DEEPEST_PROOF, new Set(), 'highest') ||
      this.#prove(goal, 1, DEEPEST_PROOF, new Set(), 'every')
    )
  }

  /** Whether some guard or loop here never lets execution in, which makes everything true. */
  #isUnreachable(): boolean {
    return this.#scopes.some(({ facts }) =>
      facts.some((fact) => {
        const never = combine({ constant: -1, terms: new Map() }, 1, fact, -1)
        return never !== undefined && this.#isProven(never)
      }),
    )
  }

  /**
   * Whether goal + multiplier − 1 ≥ 0. The goal is at most multiplier·(the integer in question), which is therefore
   * above −1 and so not negative.
   */
  #prove(goal: Linear, multiplier: number, depth: number, seen: Set<string>, pivots: 'highest' | 'every'): boolean {
    if (this.#lowest(goal) >= 1 - multiplier) return true
    if (depth === 0 || this.#steps++ > MOST_STEPS) return false
    const key = keyOf(goal, multiplier)
    if (seen.has(key)) return false
    seen.add(key)
    const numbers = [...goal.terms.keys()].sort((a, b) => this.#rank(b) - this.#rank(a))
    for (const number of pivots === 'highest' ? numbers.slice(0, 1) : numbers) {
      const scale = goal.terms.get(number) ?? 0
      for (const fact of this.#factsAbout(number)) {
        const held = fact.terms.get(number) ?? 0
        if (held === 0 || held > 0 !== scale > 0) continue
        const divisor = greatestDivisor(Math.abs(held), Math.abs(scale))
        const grow = Math.abs(held) / divisor
        if (multiplier * grow > LARGEST_SCALE) continue
        const next = combine(goal, grow, fact, -Math.abs(scale) / divisor)
        if (next && this.#prove(next, multiplier * grow, depth - 1, seen, pivots)) return true
      }
      if (this.#provePerCase(goal, number, scale, multiplier, depth, seen, pivots)) return true
      const bound = this.#boundOf(number, scale > 0)
      if (bound === undefined) continue
      const replaced = combine(goal, 1, { constant: bound, terms: new Map([[number, -1]]) }, scale)
      if (replaced && this.#prove(replaced, multiplier, depth - 1, seen, pivots)) return true
    }
    return false
  }

  /** A minimum that is added is one of its two sides: both cases must hold. */
  #provePerCase(
    goal: Linear,
    number: number,
    scale: number,
    multiplier: number,
    depth: number,
    seen: Set<string>,
    pivots: 'highest' | 'every',
  ): boolean {
    const atom = this.#atoms[number]?.atom
    if (atom?.kind !== 'min' || scale < 0) return false
    return [atom.left, atom.right].every((side) => {
      const difference = this.#linear(subtractIndex(side, { constant: 0, terms: [{ scale: 1, atom }] }))
      const next = combine(goal, 1, difference, scale)
      return next !== undefined && this.#prove(next, multiplier, depth - 1, new Set(seen), pivots)
    })
  }

  #factsAbout(number: number): Linear[] {
    const facts: Linear[] = [...(this.#atoms[number]?.facts ?? [])]
    for (const scope of this.#scopes.toReversed())
      for (const fact of scope.facts) if (fact.terms.has(number)) facts.push(fact)
    return facts
  }

  #lowest(linear: Linear): number {
    let low = linear.constant
    for (const [number, scale] of linear.terms) {
      const bound = this.#boundOf(number, scale > 0)
      if (bound === undefined) return -Infinity
      low += scale * bound
    }
    return low
  }

  #boundOf(number: number, least: boolean): number | undefined {
    const atom = this.#atoms[number]?.atom
    const range = atom && rangeOf({ constant: 0, terms: [{ scale: 1, atom }] }, this.#ranges)
    // The extent's own fact still bounds a variable whose extent has no constant bound; from below it is always 0.
    if (!range) return least && atom?.kind === 'variable' ? 0 : undefined
    return least ? range.low : range.high
  }

  #rank(number: number): number {
    return this.#atoms[number]?.rank ?? 0
  }

  #linear(index: Index): Linear {
    const terms = new Map<number, number>()
    for (const { scale, atom } of index.terms) {
      const number = this.#numberOf(atom)
      terms.set(number, (terms.get(number) ?? 0) + scale)
    }
    return { constant: index.constant, terms }
  }

  #numberOf(atom: Atom): number {
    const single: Index = { constant: 0, terms: [{ scale: 1, atom }] }
    const text = printIndex(single)
    const depth = this.#scopes.length
    const known = this.#numbers.get(text)
    if (known !== undefined) return known
    const number = this.#atoms.length
    this.#numbers.set(text, number)
    const facts: Linear[] = []
    const parts =
      atom.kind === 'min' ? [atom.left, atom.right] : atom.kind === 'div' || atom.kind === 'mod' ? [atom.value] : []
    this.#atoms.push({ atom, rank: 0, facts })
    const inner = parts.flatMap((part) => [...this.#linear(part).terms.keys()])
    // A remainder's promise speaks of the quotient, so it is eliminated first.
    const above = atom.kind === 'mod' ? 2 : 1
    const rank = inner.reduce(
      (highest, part) => Math.max(highest, this.#rank(part) + above),
      atom.kind === 'variable' ? LOOP_RANK * depth : 0,
    )
    this.#atoms[number] = { atom, rank, facts }
    for (const fact of promises(atom, single)) facts.push(this.#linear(fact))
    return number
  }
}

/** What always holds of an atom beyond its interval, each ≥ 0. */
function promises(atom: Atom, single: Index): Index[] {
  switch (atom.kind) {
    case 'div': {
      const rest = subtractIndex(atom.value, scaleIndex(single, atom.by))
      return [rest, subtractIndex(constantIndex(atom.by - 1), rest)]
    }
    case 'mod': {
      const quotient: Index = {
        constant: 0,
        terms: [{ scale: atom.by, atom: { kind: 'div', value: atom.value, by: atom.by } }],
      }
      const difference = subtractIndex(addIndex(single, quotient), atom.value)
      return [difference, scaleIndex(difference, -1)]
    }
    case 'min':
      return [subtractIndex(atom.left, single), subtractIndex(atom.right, single)]
    default:
      return []
  }
}

/** a·left + b·right without the terms that cancel; undefined when a number grows beyond exactness. */
function combine(left: Linear, a: number, right: Linear, b: number): Linear | undefined {
  const constant = left.constant * a + right.constant * b
  if (Math.abs(constant) > LARGEST_SCALE) return undefined
  const terms = new Map<number, number>()
  for (const [number, scale] of left.terms) terms.set(number, scale * a)
  for (const [number, scale] of right.terms) terms.set(number, (terms.get(number) ?? 0) + scale * b)
  for (const [number, scale] of terms) {
    if (Math.abs(scale) > LARGEST_SCALE) return undefined
    if (scale === 0) terms.delete(number)
  }
  return { constant, terms }
}

function keyOf(linear: Linear, multiplier: number): string {
  const terms = [...linear.terms].sort(([a], [b]) => a - b)
  return `${multiplier} ${linear.constant} ${terms.map(([number, scale]) => `${number}*${scale}`).join(' ')}`
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b)
}
