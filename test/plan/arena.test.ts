// Placing buffers in one block: nothing that lives at once overlaps, the peak is near what is needed, at any size. Held
// against every order of a few buffers, and tried on what makes lowest fit leave holes.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { align, alignment, placeInArena } from '../../compiler/plan/arena.ts'
import type { Arena, Lifetime } from '../../compiler/plan/arena.ts'
import { Random } from '../../data/random.ts'
import { leastPeak, streamedStep } from './lifetimes.ts'
import type { Streamed } from './lifetimes.ts'

/** Places, holds the placement to what it promises, and says how far above the bound it is. */
function gapOf(lifetimes: readonly Lifetime[], arena = placeInArena(lifetimes)): number {
  check(lifetimes, arena)
  return arena.lowerBound === 0 ? 0 : arena.peak / arena.lowerBound - 1
}

function check(lifetimes: readonly Lifetime[], { offsets, peak, lowerBound }: Arena): void {
  assert.equal(offsets.length, lifetimes.length)
  const column = (of: (index: number) => number): Float64Array => Float64Array.from(lifetimes, (_, index) => of(index))
  const first = column((index) => lifetimes[index]?.first as number)
  const last = column((index) => lifetimes[index]?.last as number)
  const start = column((index) => offsets[index] as number)
  const end = column((index) => (offsets[index] as number) + align(lifetimes[index]?.bytes as number))
  for (const offset of offsets) assert.ok(offset >= 0 && offset % alignment === 0, `offset ${offset}`)
  const highest = end.reduce((most, one) => Math.max(most, one), 0)
  assert.equal(peak, highest)
  assert.ok(peak >= lowerBound)
  // Pair by pair, as plainly as can be said.
  let overlapping = ''
  const live = new Float64Array(lifetimes.length)
  for (let a = 0; a < lifetimes.length; a++) {
    const [begins, ends, from, to] = [first[a] as number, last[a] as number, start[a] as number, end[a] as number]
    let sum = 0
    for (let b = 0; b < lifetimes.length; b++) {
      const isThere = (first[b] as number) <= begins && begins <= (last[b] as number)
      if (isThere) sum += (end[b] as number) - (start[b] as number)
      if (b >= a || (first[b] as number) > ends || begins > (last[b] as number)) continue
      if ((start[b] as number) < to && from < (end[b] as number)) overlapping = `${a} and ${b}`
    }
    live[a] = sum
  }
  assert.equal(overlapping, '')
  // Most is alive when something has just begun.
  const greatest = live.reduce((most, one) => Math.max(most, one), 0)
  assert.equal(lowerBound, greatest)
}

const lives = (span: number, longest: number): fc.Arbitrary<Lifetime> =>
  fc
    .tuple(fc.integer({ min: 1, max: 40 * alignment }), fc.nat(span), fc.nat(longest))
    .map(([bytes, first, length]) => ({ bytes, first, last: first + length }))

describe('an arena', function () {
  this.timeout(60_000)

  it('of no buffers, or of none at the same time, is as large as it must be', () => {
    assert.deepEqual(placeInArena([]), { offsets: [], peak: 0, lowerBound: 0 })
    const one = placeInArena([{ bytes: 65, first: 3, last: 3 }])
    assert.deepEqual(one, { offsets: [0], peak: 128, lowerBound: 128 })
    const apart = Array.from({ length: 50 }, (_, first) => ({ bytes: 64 * (first + 1), first, last: first }))
    assert.equal(placeInArena(apart).peak, 64 * 50)
  })

  it('never lets two buffers overlap that live at once, and is the same twice', () => {
    const graphs = fc.oneof(
      fc.array(lives(12, 6), { maxLength: 60 }),
      fc.array(lives(200, 5), { maxLength: 120 }),
      fc.array(lives(30, 30), { maxLength: 80 }),
    )
    fc.assert(
      fc.property(graphs, (lifetimes) => {
        const arena = placeInArena(lifetimes)
        check(lifetimes, arena)
        assert.deepEqual(placeInArena(lifetimes), arena)
      }),
      { numRuns: 60 },
    )
  })

  it('of a few buffers has the least peak that there is', () => {
    const few = fc.array(
      fc.oneof(lives(6, 3), lives(9, 9)),
      { minLength: 2, maxLength: 7 },
    ) // prettier-ignore
    fc.assert(
      fc.property(few, (lifetimes) => {
        const { peak, lowerBound } = placeInArena(lifetimes)
        const least = leastPeak(lifetimes, lowerBound)
        assert.ok(peak <= 1.02 * least, `${peak} bytes, ${least} are enough`)
      }),
      { numRuns: 250 },
    )
  })

  it('takes stairs, combs and rings without holes', () => {
    const stairs = Array.from({ length: 300 }, (_, n) => ({ bytes: 64 * (1 + (n % 5)), first: n, last: n + 9 }))
    const nested = Array.from({ length: 300 }, (_, n) => ({ bytes: 64 * (1 + (n % 5)), first: n, last: 700 - n }))
    // Long teeth with short ones between: first in, first placed leaves holes of the short ones' size.
    const comb = Array.from({ length: 400 }, (_, n) => ({
      bytes: n % 2 === 0 ? 64 : 64 * 9,
      first: n,
      last: n % 2 === 0 ? 800 : n + 1,
    }))
    const ring = Array.from({ length: 300 }, (_, n) => ({ bytes: 64 * (3 + (n % 2)), first: n, last: n + 1 }))
    for (const lifetimes of [stairs, nested, comb, ring, [...nested, ...ring], [...comb, ...stairs]]) {
      const gap = gapOf(lifetimes)
      assert.ok(gap <= 0.02, `${lifetimes.length} buffers: ${(gap * 100).toFixed(2)} %`)
    }
    // Sizes that come round in another rhythm than lives do: what is free is never quite what is wanted.
    const uneven = Array.from({ length: 300 }, (_, n) => ({ bytes: 64 * (1 + (n % 7)), first: n, last: n + 9 }))
    assert.ok(gapOf(uneven) <= 0.15)
  })

  const mebibyte = 1 << 20
  const streamed: readonly Streamed[] = [
    { layers: 26, moments: 190, shardBytes: 4 * mebibyte, shards: 40, window: 3, kept: 20, passing: 50 },
    { layers: 26, moments: 190, shardBytes: mebibyte, shards: 20, window: 4, kept: 10, passing: 45 },
    { layers: 12, moments: 400, shardBytes: 16 * mebibyte, shards: 100, window: 2, kept: 3, passing: 90 },
    { layers: 24, moments: 200, shardBytes: 8 * mebibyte, shards: 30, window: 3, kept: 1, passing: 70 },
    { layers: 24, moments: 200, shardBytes: 300_000, shards: 60, window: 6, kept: 1, passing: 50 },
  ]
  for (const how of streamed) {
    const { layers, shards, shardBytes, window } = how
    it(`has room for ${2 * layers * shards} shards of ${shardBytes} bytes, ${window} at once, beside ${layers} layers`, () => {
      const lifetimes = streamedStep(how, 1)
      const start = performance.now()
      const arena = placeInArena(lifetimes)
      const milliseconds = performance.now() - start
      const gap = gapOf(lifetimes, arena)
      assert.ok(gap <= 0.03, `${lifetimes.length} buffers: ${(gap * 100).toFixed(2)} %`)
      // A second or two on an idle machine; what is held is the order of magnitude.
      assert.ok(milliseconds < 20_000, `${lifetimes.length} buffers: ${milliseconds} ms`)
    })
  }

  it('of 5,000 buffers without any pattern is not left to chance either', () => {
    const random = new Random(1)
    const lifetimes = Array.from({ length: 5000 }, () => {
      const first = random.bits() % 5000
      return { bytes: 64 * (1 + (random.bits() % 1000)), first, last: first + (random.bits() % 2000) }
    })
    const gap = gapOf(lifetimes)
    assert.ok(gap <= 0.1, `${(gap * 100).toFixed(2)} %`)
  })
})
