// What is computed again and which weights stay, chosen together: least max(computing, reading) within a budget of memory, by the
// Lagrangian relaxation of the max (Everett 1963). Knows numbers only.

import { bestBelow } from './jointLabels.ts'
import { jointPeak, JointPass, longer, timesOf } from './jointStates.ts'
import type { JointChain, JointChoice, JointPicks } from './jointStates.ts'

export interface JointSolution extends JointPicks {
  /** Bytes at any time. */
  readonly peak: number
  /** The longer of computing and storage. */
  readonly seconds: number
  /** No choice within the budget takes less. */
  readonly lowerBound: number
  /** The one at which a second of computing weighs against one of storage as it does in the best plans. */
  readonly weight: number
}

/** Sums of bytes that are told apart while the weight is looked for, and once it is known. */
export interface JointEffort {
  readonly coarse: number
  readonly fine: number
}

const usualEffort: JointEffort = { coarse: 48, fine: 1 << 8 }

/** Weights that are tried: each is where the plans before it cost the same. */
const MOST_WEIGHTS = 8
/** So many times as many sums where a bound is not close. */
const FINER = 4
const FINEST = FINER ** 2
/** Of equal plans by one time the one that takes less of the other. */
const SMALL = 1e-6
/** So near the bound, nothing more is tried where there are many choices. */
const CLOSE = 5e-3
/** No more than what rounding may do. */
const ALIKE = 1e-6
/** By so much two sums of the same numbers may differ. */
const ROUNDING = 1e-12
/** Choices of all layers together that are always told apart finely, and all followed that may be better. */
const FEW_CHOICES = 200

/**
 * For any weight between 0 and 1, max(C, S) ≥ weight · C + (1 − weight) · S, and the least of the sum is found layer by layer. The
 * weight at which it is largest gives the bound, and the plans on the way there, with what single exchanges make of the best of them,
 * the answer. What is still between the two is closed by following all plans that may lie there, where these are few.
 *
 * Undefined where nothing fits.
 */
export function solveJoint(chain: JointChain, effort: JointEffort = usualEffort): JointSolution | undefined {
  return chain.budget < 0 ? undefined : new Search(chain, effort).solve()
}

/** As if choices could be mixed, no plan takes less than this; quickly found. */
export function relaxedBound(chain: JointChain, weight: number): number {
  return new JointPass(chain, 1, { weight, sums: 1, known: Number.POSITIVE_INFINITY, bounds: true }).relaxed
}

class Search {
  readonly #chain: JointChain
  readonly #effort: JointEffort
  readonly #unit: number
  readonly #isSmall: boolean
  #best: JointPicks | undefined
  #lowerBound = 0
  /** Of the last weights, for ruling out more than one of them can. */
  readonly #passes: JointPass[] = []

  constructor(chain: JointChain, effort: JointEffort) {
    this.#chain = chain
    this.#unit = commonUnit(chain)
    this.#isSmall = chain.layers.reduce((sum, choices) => sum + choices.length, 0) <= FEW_CHOICES
    this.#effort = this.#isSmall ? { coarse: FINER * effort.fine, fine: FINER * effort.fine } : effort
  }

  get #known(): number {
    return this.#best ? longer(this.#best) : Number.POSITIVE_INFINITY
  }

  #take(plan: JointPicks): void {
    if (longer(plan) < this.#known) this.#best = plan
  }

  #isClosed(): boolean {
    return this.#known <= (1 + (this.#isSmall ? ALIKE : CLOSE)) * this.#lowerBound
  }

  solve(): JointSolution | undefined {
    const { coarse, fine } = this.#effort
    // Where hardly anything fits, coarse sums may miss all of it.
    let weight = this.#between(coarse, MOST_WEIGHTS)
    for (let sums = fine; weight === undefined && sums <= FINEST * fine; sums *= FINER) weight = this.#between(sums, MOST_WEIGHTS) // prettier-ignore
    if (weight === undefined) return undefined
    if (this.#isSmall) {
      // Weights were tried finely already; where one end was enough, the other one may say more.
      for (const end of [SMALL, 1 - SMALL]) if (!this.#isClosed()) this.#bound(end, fine)
    } else {
      this.#at(weight, fine)
      this.#bound(weight, fine)
    }
    if (!this.#isClosed()) this.#take(exchanged(this.#chain, this.#best as JointPicks, this.#isSmall))
    // What rounding takes from the bound counts once plans are good.
    if (!this.#isClosed() && !this.#isSmall) this.#bound(weight, FINER * fine)
    if (!this.#isClosed() && this.#isSmall) this.#close()
    const best = this.#best as JointPicks
    const seconds = longer(best)
    // Both are sums of the same numbers in other orders; a bound that is above by more is wrong, and is not hidden.
    const lowerBound = this.#lowerBound <= (1 + ROUNDING) * seconds ? Math.min(this.#lowerBound, seconds) : this.#lowerBound // prettier-ignore
    return { ...best, peak: jointPeak(this.#chain, best.picks), seconds, lowerBound, weight }
  }

  #at(weight: number, sums: number, known = this.#known): JointPicks | undefined {
    const found = new JointPass(this.#chain, this.#unit, { weight, sums, known }).plans()
    if (found) [found.byWeight, found.fastest].forEach((plan) => this.#take(plan))
    return found?.byWeight
  }

  #bound(weight: number, sums: number): void {
    const pass = new JointPass(this.#chain, this.#unit, { weight, sums, known: this.#known, bounds: true })
    this.#passes.push(pass)
    this.#lowerBound = Math.max(this.#lowerBound, pass.bound())
  }

  /**
   * The weight at which the least weighted sum is largest: the plans on both sides of it, one computing longer, one reading longer,
   * cost the same there. Undefined where nothing fits.
   */
  #between(sums: number, turns: number): number | undefined {
    let computing = this.#at(SMALL, sums, Number.POSITIVE_INFINITY)
    if (!computing) return undefined
    if (computing.storage >= computing.compute) return SMALL
    let reading = this.#at(1 - SMALL, sums, Number.POSITIVE_INFINITY) ?? computing
    if (reading.compute >= reading.storage) return 1 - SMALL
    let weight = SMALL
    for (let turn = 0; turn < turns; turn++) {
      const more = computing.compute - reading.compute
      const less = reading.storage - computing.storage
      weight = less / (less + more)
      const found = this.#at(weight, sums)
      if (this.#isSmall) this.#bound(weight, sums)
      if (!found || weighted(found, weight) >= weighted(reading, weight) - ALIKE * longer(found)) break
      if (found.compute > found.storage) computing = found
      else reading = found
    }
    return weight
  }

  #close(): void {
    const best = bestBelow(this.#chain, this.#passes, this.#known)
    if (best === undefined) return
    if (best !== 'none') this.#take(best)
    this.#lowerBound = this.#known
  }
}

function weighted({ compute, storage }: JointPicks, weight: number): number {
  return weight * compute + (1 - weight) * storage
}

/** With one layer after another treated in another way as long as that helps; `pairs`: or two of them. */
function exchanged(chain: JointChain, from: JointPicks, pairs: boolean): JointPicks {
  let best = from
  const exchange = (plan: JointPicks, first: number, again: boolean): void => {
    for (let layer = first; layer < chain.layers.length; layer++) {
      const choices = chain.layers[layer] as readonly JointChoice[]
      const old = choices[plan.picks[layer] as number] as JointChoice
      for (const [pick, choice] of choices.entries()) {
        if (choice === old) continue
        const compute = plan.compute - old.compute + choice.compute
        const storage = plan.storage - old.storage + choice.storage
        const isBetter = Math.max(compute, storage) < longer(best) * (1 - SMALL)
        if (!isBetter && !again) continue
        const next = { picks: plan.picks.with(layer, pick), compute, storage }
        if (isBetter && jointPeak(chain, next.picks) <= chain.budget) best = timesOf(chain, next.picks)
        if (again) exchange(next, layer + 1, false)
      }
    }
  }
  for (let before = Number.POSITIVE_INFINITY; longer(best) < before;) {
    before = longer(best)
    exchange(best, 0, pairs)
  }
  return best
}

/** In which all sums of bytes are whole numbers. */
export function commonUnit({ middle, layers, beside = [] }: JointChain): number {
  const sums = [...new Set(layers)].flat().flatMap(({ kept, need, resident }) => [kept, need, resident])
  return [...sums, ...beside].reduce(greatestCommonDivisor, middle)
}

function greatestCommonDivisor(a: number, b: number): number {
  let [greater, less] = [a, b]
  while (less > 0) [greater, less] = [less, greater % less]
  return greater
}
