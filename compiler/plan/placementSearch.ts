// Looks for an order in which lowest fit comes close to the bound: some natural orders first, then the best of them with
// the buffers that end too high brought forward, again and again ("squeaky wheel", Joslin and Clements 1999).
// Deterministic: the same placement on every machine.

import { LowestFit } from './lowestFit.ts'
import type { Buffers, Placement } from './lowestFit.ts'

/** Comparisons after which the best placement is taken: about a second. */
const MOST_WORK = 50_000_000
/** Of sorting an order again, for each buffer. */
const CHANGE_WORK = 10
/** Changes after which no better placement is looked for: the bound may be out of reach. */
const MOST_CHANGES = 1200
/** Changes of one order before another is gone on with. */
const CHANGES = 40
/** Orders that are changed, the best first. */
const CHANGED_ORDERS = 4

/** The best placement found; the search ends as soon as its peak is at most `goal`. `contention`: see `contentionOf`. */
export function searchPlacement(buffers: Buffers, contention: Float64Array, goal: number): Placement {
  const fit = new LowestFit(buffers)
  const tried: { readonly order: Int32Array; readonly placement: Placement }[] = []
  for (const keys of naturalKeys(buffers, contention)) {
    const order = sortedBy(keys, buffers.count)
    const placement = fit.place(order)
    if (placement.peak <= goal) return placement
    tried.push({ order, placement })
  }
  tried.sort((a, b) => a.placement.peak - b.placement.peak)
  let best = (tried[0] as (typeof tried)[number]).placement
  const random = new Fractions()
  const changing = tried.slice(0, CHANGED_ORDERS).map(({ order, placement }) => ({ order: order.slice(), placement }))
  for (let change = 0; change < MOST_CHANGES && fit.work < MOST_WORK; change++) {
    const one = changing[Math.floor(change / CHANGES) % changing.length] as (typeof changing)[number]
    bringForward(buffers, one, goal, random)
    one.placement = fit.place(one.order)
    fit.work += CHANGE_WORK * buffers.count
    if (one.placement.peak < best.peak) best = one.placement
    if (best.peak <= goal) return best
  }
  return best
}

/** Buffers that end above the goal get earlier turns: some much, some a little. */
function bringForward(
  { bytes, count }: Buffers,
  { order, placement }: { readonly order: Int32Array; readonly placement: Placement },
  goal: number,
  random: Fractions,
): void {
  // A turn and its buffer in one number, as numbers sort much faster than pairs.
  const turns = new Float64Array(count)
  order.forEach((index, turn) => {
    const isHigh = (placement.offsets[index] as number) + (bytes[index] as number) > goal
    const earlier = isHigh ? turn * (0.3 + 0.65 * random.next()) : turn + 1
    turns[turn] = Math.floor(earlier * 16) * count + index
  })
  turns.sort().forEach((turn, place) => (order[place] = turn % count))
}

type Keys = readonly ((index: number) => number)[]

/** What buffers are sorted by, greatest first. */
function naturalKeys({ bytes, first, last }: Buffers, contention: Float64Array): readonly Keys[] {
  const size = (index: number): number => bytes[index] as number
  const life = (index: number): number => (last[index] as number) - (first[index] as number)
  const area = (index: number): number => size(index) * life(index)
  const early = (index: number): number => -(first[index] as number)
  const contended = (index: number): number => contention[index] as number
  const weighed = (power: number) => (index: number) => contended(index) ** power * size(index)
  return [
    [size, life, early],
    [contended, life, size],
    [weighed(8)],
    [contended, area],
    [weighed(4)],
    [(index) => Math.floor(contended(index) * 20), life],
    [life, size, early],
    [area, early],
    [early, size],
    [(index) => last[index] as number, size],
  ]
}

function sortedBy(keys: Keys, count: number): Int32Array {
  const values = keys.map((key) => Float64Array.from({ length: count }, (_, index) => key(index)))
  return Int32Array.from({ length: count }, (_, index) => index).sort((a, b) => {
    for (const column of values) {
      const difference = (column[b] as number) - (column[a] as number)
      if (difference !== 0) return difference
    }
    return a - b
  })
}

/** Numbers from 0 to 1, the same on every machine (Numerical Recipes' generator). */
class Fractions {
  #state = 1

  next(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0
    return this.#state / 2 ** 32
  }
}
