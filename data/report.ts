// What a set of examples is like, in figures: lengths, tokens, what is learnt, how much of the batches is padding. Counts
// only; prints nothing.

import type { MicroBatch } from './batches.ts'
import type { Example } from './examples.ts'

/** Examples of `from` to `to` positions, both included. */
export interface LengthBin {
  readonly from: number
  readonly to: number
  readonly count: number
}

export interface DataReport {
  readonly examples: number
  /** Positions of all examples, padding left out. */
  readonly tokens: number
  /** Those whose target is learnt. */
  readonly learnt: number
  readonly shortest: number
  readonly median: number
  readonly longest: number
  /** Equal widths up to the longest, from the first that holds something; empty ones between are included. */
  readonly histogram: readonly LengthBin[]
}

const MOST_BINS = 12

/** Figures of at least one example. */
export function reportOf(examples: readonly Example[]): DataReport {
  const lengths = Int32Array.from(examples, ({ tokens }) => tokens.length).sort()
  const longest = lengths.at(-1) ?? 0
  let tokens = 0
  let learnt = 0
  for (const { weights } of examples) {
    tokens += weights.length
    for (const weight of weights) if (weight > 0) learnt++
  }
  return {
    examples: examples.length,
    tokens,
    learnt,
    shortest: lengths[0] ?? 0,
    median: lengths[Math.floor((lengths.length - 1) / 2)] ?? 0,
    longest,
    histogram: histogramOf(lengths, longest),
  }
}

function histogramOf(lengths: Int32Array, longest: number): LengthBin[] {
  const width = roundWidth(longest / MOST_BINS)
  const counts: number[] = Array.from({ length: Math.ceil(longest / width) }, () => 0)
  for (const length of lengths) {
    const bin = Math.floor((length - 1) / width)
    counts[bin] = (counts[bin] ?? 0) + 1
  }
  const bins = counts.map((count, bin) => ({ from: bin * width + 1, to: (bin + 1) * width, count }))
  return bins.slice(
    Math.max(
      0,
      counts.findIndex((count) => count > 0),
    ),
  )
}

/** The least of 1, 2, 4, 5, 8 times a power of ten that is not below `least`. */
function roundWidth(least: number): number {
  for (let power = 1; ; power *= 10) {
    const found = [1, 2, 4, 5, 8].find((digit) => digit * power >= least)
    if (found !== undefined) return found * power
  }
}

/** How much of what is computed is padding, from 0 to 1. */
export function paddingShare(steps: Iterable<readonly MicroBatch[]>, tokens: number): number {
  let computed = 0
  for (const step of steps) for (const { sequences, length } of step) computed += sequences * length
  return computed === 0 ? 0 : 1 - tokens / computed
}
