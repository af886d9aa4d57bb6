// The order of a pass in which the examples of a micro-batch are of like length, so that short ones are computed at a
// short length. Knows lengths only.

import { UserError } from '../compiler/diagnostic.ts'
import type { Random } from './random.ts'

/** Buckets when nobody says which: enough that little is padded, few enough that chance still mixes. */
const USUAL_BUCKETS = 8

/** Bounds between which about equally many of `lengths` lie, ascending; the last is the longest. */
export function usualBounds(lengths: readonly number[]): number[] {
  const sorted = Int32Array.from(lengths).sort()
  const bounds = Array.from(
    { length: USUAL_BUCKETS },
    (_, bucket) => sorted[Math.ceil(((bucket + 1) * sorted.length) / USUAL_BUCKETS) - 1] ?? 0,
  )
  return [...new Set(bounds)]
}

/** Refuses bounds that are no ascending positive integers (HD512). */
export function checkBounds(bounds: readonly number[]): void {
  const isAscending = bounds.every(
    (bound, index) => Number.isSafeInteger(bound) && bound > (index === 0 ? 0 : (bounds[index - 1] ?? 0)),
  )
  if (!isAscending || bounds.length === 0) {
    throw new UserError('HD512', 'the bounds of buckets are not ascending positive integers')
  }
}

/**
 * All indices of `lengths` in a random order that comes in groups of `size`, each from one bucket (a length belongs to the
 * first bound that is not below it, a longer one than all to a bucket of its own). Groups are in random order too. The
 * first `head` indices complete a group that the pass before began, and are of any length; what is left over in the
 * buckets is grouped by rising bucket, and the last of those groups may be smaller and comes last.
 */
export function bucketOrder(
  lengths: readonly number[],
  bounds: readonly number[],
  size: number,
  head: number,
  random: Random,
): number[] {
  const shuffled = random.shuffle(Array.from(lengths, (_, index) => index))
  const buckets = Array.from({ length: bounds.length + 1 }, (): number[] => [])
  for (const index of shuffled.slice(head)) {
    const bucket = bounds.findIndex((bound) => (lengths[index] ?? 0) <= bound)
    buckets[bucket < 0 ? bounds.length : bucket]?.push(index)
  }
  const groups: number[][] = []
  const left: number[] = []
  for (const bucket of buckets) {
    const whole = bucket.length - (bucket.length % size)
    for (let start = 0; start < whole; start += size) groups.push(bucket.slice(start, start + size))
    left.push(...bucket.slice(whole))
  }
  const whole = left.length - (left.length % size)
  for (let start = 0; start < whole; start += size) groups.push(left.slice(start, start + size))
  return [...shuffled.slice(0, head), ...random.shuffle(groups).flat(), ...left.slice(whole)]
}
