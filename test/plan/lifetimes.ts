// Instances of the placement problem beside those of real programs: training steps whose weights stream through a window of
// shards, and the least peak of a few buffers by trying everything. Only for tests.

import { align } from '../../compiler/plan/arena.ts'
import type { Lifetime } from '../../compiler/plan/arena.ts'
import { Random } from '../../data/random.ts'

export interface Streamed {
  readonly layers: number
  /** Moments of one layer in one direction. */
  readonly moments: number
  readonly shardBytes: number
  /** Shards read for each layer, in either direction. */
  readonly shards: number
  /** Shards that are there at once. */
  readonly window: number
  /** Values that live from a layer's forward to its backward. */
  readonly kept: number
  /** Values that live for a few moments, per layer and direction. */
  readonly passing: number
}

/**
 * A step on a fine timeline: what layers keep is nested, as the backward pass takes it in the reverse order, values pass
 * by, and shards of one size are there for as long as the window is. Layers are alike, as those of a model are.
 */
export function streamedStep(how: Streamed, seed: number): Lifetime[] {
  const random = new Random(seed)
  const below = (count: number): number => random.bits() % count
  const { layers, moments, shards, window } = how
  const size = (): number => 64 + below(1 << 20)
  const kept = Array.from({ length: how.kept }, () => ({ bytes: size(), first: below(moments), last: below(moments) }))
  const passing = Array.from({ length: how.passing }, () => {
    const first = below(moments)
    return { bytes: size(), first, last: first + below(moments >> 3) }
  })
  const end = 2 * layers * moments
  const lifetimes: Lifetime[] = []
  const live = (bytes: number, first: number, last: number): unknown =>
    lifetimes.push({ bytes, first, last: Math.min(last, end - 1) })
  for (let layer = 0; layer < layers; layer++) {
    const forward = layer * moments
    const backward = end - forward - moments
    for (const { bytes, first, last } of kept) live(bytes, forward + first, backward + last)
    for (const begin of [forward, backward]) {
      for (const { bytes, first, last } of passing) live(bytes, begin + first, begin + last)
    }
  }
  const reads = 2 * layers * shards
  const at = (read: number): number => Math.floor((read * end) / reads)
  for (let read = 0; read < reads; read++) live(how.shardBytes, at(read), at(read + window) - 1)
  return lifetimes
}

/**
 * The least peak of any placement. Some best placement has every buffer at offset 0 or right above another of its time, and
 * then the order of offsets is an order in which lowest fit finds it: all orders are tried, cut where one is no better.
 */
export function leastPeak(lifetimes: readonly Lifetime[], enough: number): number {
  const sized = lifetimes.map((lifetime) => ({ ...lifetime, bytes: align(lifetime.bytes) }))
  const offsets: (number | undefined)[] = sized.map(() => undefined)
  let best = sized.reduce((sum, { bytes }) => sum + bytes, 0)
  const visit = (placed: number, peak: number, lowest: number): void => {
    if (peak >= best || best <= enough) return
    if (placed === sized.length) {
      best = peak
      return
    }
    for (const [index, { bytes, first, last }] of sized.entries()) {
      if (offsets[index] !== undefined) continue
      let offset = 0
      for (const [other, { bytes: height, first: begins, last: ends }] of sized.entries()) {
        const start = offsets[other]
        if (start !== undefined && begins <= last && first <= ends) offset = Math.max(offset, start + height)
      }
      // Offsets rise along the order: any other order of the same placement is the same placement.
      if (offset < lowest) continue
      offsets[index] = offset
      visit(placed + 1, Math.max(peak, offset + bytes), offset)
      offsets[index] = undefined
    }
  }
  visit(0, 0, 0)
  return best
}
