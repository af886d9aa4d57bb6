// The order in which numbers are reduced, once, for the interpreter; `docs/numerics.md` says the same in
// words. Works on plain arrays: knows nothing of tensors.

import type { Scalars } from './scalars.ts'

/** Partial results of one block; element i goes to partial i mod 16. */
export const partialCount = 16
/** Longer reductions go by blocks of this many elements. */
export const reductionBlock = 4096
/** A sum is a tree over blocks, and over blocks of blocks; there is no third level. */
export const largestReduction = reductionBlock ** 2

type Combine = (a: number, b: number) => number

/** One block: 16 partials from `start` in index order, then the tree. `combine(partial, element)` takes an element. */
function reduceBlock(
  values: ArrayLike<number>,
  from: number,
  to: number,
  start: number,
  take: Combine,
  join: Combine,
): number {
  const partials = new Float64Array(partialCount).fill(start)
  for (let index = from; index < to; index++) {
    const slot = (index - from) % partialCount
    partials[slot] = take(partials[slot] as number, values[index] as number)
  }
  for (let width = partialCount / 2; width >= 1; width /= 2) {
    for (let slot = 0; slot < width; slot++) {
      partials[slot] = join(partials[slot] as number, partials[slot + width] as number)
    }
  }
  return partials[0] as number
}

function reduce(values: ArrayLike<number>, count: number, start: number, take: Combine, join: Combine): number {
  if (count <= reductionBlock) return reduceBlock(values, 0, count, start, take, join)
  const blocks: number[] = []
  for (let from = 0; from < count; from += reductionBlock) {
    blocks.push(reduceBlock(values, from, Math.min(from + reductionBlock, count), start, take, join))
  }
  return reduce(blocks, blocks.length, start, take, join)
}

/** The sum of the first `count` values: 16 partials from +0 and the tree, by blocks of 4,096 where there are more. */
export function sumOf(s: Scalars<number>, values: ArrayLike<number>, count = values.length): number {
  const add: Combine = (a, b) => s.add(a, b)
  return reduce(values, count, 0, add, add)
}

/** The largest of the first `count` values and `start`, in the order of `sumOf`; NaN among the values is passed over. */
export function maximumOf(s: Scalars<number>, values: ArrayLike<number>, count: number, start: number): number {
  return reduce(
    values,
    count,
    start,
    (partial, element) => s.max(element, partial),
    (a, b) => s.max(a, b),
  )
}

/** Where the running maximum of a softmax starts: finite, so that a block of masked scores divides nothing by zero. */
export const lowestScore = Math.fround(-3.0e38)

/** The state of a softmax that takes its scores block by block (Milakov and Gimelshein 2018, "Online normalizer"). */
export interface RunningSoftmax {
  maximum: number
  /** Σ exp(score − maximum) so far. */
  total: number
}

export function startSoftmax(s: Scalars<number>): RunningSoftmax {
  return { maximum: s.float(lowestScore), total: s.float(0) }
}

/**
 * Takes the first `count` of `scores` as one block and replaces them by exp(score − new maximum). Returns the factor by
 * which whatever was summed with the old maximum has to be multiplied.
 */
export function takeBlock(
  s: Scalars<number>,
  exp: (x: number) => number,
  state: RunningSoftmax,
  scores: Float64Array,
  count: number,
): number {
  const blockMaximum = maximumOf(s, scores, count, s.float(lowestScore))
  const maximum = s.max(blockMaximum, state.maximum)
  const rescale = exp(s.sub(state.maximum, maximum))
  for (let index = 0; index < count; index++) scores[index] = exp(s.sub(scores[index] as number, maximum))
  state.total = s.fma(state.total, rescale, sumOf(s, scores, count))
  state.maximum = maximum
  return rescale
}
