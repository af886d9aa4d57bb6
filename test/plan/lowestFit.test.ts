// Lowest fit where buffers are so many that they are looked up by stretches of time: the same offsets as walking all of them.

import assert from 'node:assert/strict'
import { LowestFit } from '../../compiler/plan/lowestFit.ts'
import type { Buffers } from '../../compiler/plan/lowestFit.ts'
import { Random } from '../../data/random.ts'

/** Some live long, most for a moment or two: values beside ranges from storage. */
function buffersOf(count: number, moments: number): Buffers {
  const random = new Random(7)
  const below = (limit: number): number => Math.floor((random.bits() / 2 ** 32) * limit)
  const first = Int32Array.from({ length: count }, () => below(moments))
  const last = first.map((moment, index) => Math.min(moments, moment + below(index % 60 === 0 ? moments : 2)))
  return { count, first, last, bytes: Float64Array.from(first, () => 64 * (1 + below(40))) }
}

/** The lowest offset at which a buffer meets none of those before it. */
function offsetsOf({ bytes, first, last }: Buffers, order: Int32Array): Float64Array {
  const offsets = new Float64Array(order.length)
  const placed: number[] = []
  for (const index of order) {
    const others = placed
      .filter((one) => (last[one] ?? 0) >= (first[index] ?? 0) && (first[one] ?? 0) <= (last[index] ?? 0))
      .sort((a, b) => (offsets[a] ?? 0) - (offsets[b] ?? 0))
    let offset = 0
    for (const one of others) {
      if ((offsets[one] ?? 0) - offset >= (bytes[index] ?? 0)) break
      offset = Math.max(offset, (offsets[one] ?? 0) + (bytes[one] ?? 0))
    }
    offsets[index] = offset
    placed.push(index)
  }
  return offsets
}

describe('lowest fit', function () {
  this.timeout(60_000)

  for (const [count, moments] of [
    [300, 70],
    [9000, 4000],
  ] as const) {
    it(`places ${count} buffers where the lowest free addresses of their lives are, again and again`, () => {
      const buffers = buffersOf(count, moments)
      const fit = new LowestFit(buffers)
      const largestFirst = Int32Array.from({ length: count }, (_, index) => index).sort(
        (a, b) => (buffers.bytes[b] ?? 0) - (buffers.bytes[a] ?? 0) || a - b,
      )
      for (const order of [largestFirst, largestFirst.toReversed()]) {
        const { offsets, peak } = fit.place(order)
        assert.deepEqual(offsets, offsetsOf(buffers, order))
        assert.equal(peak, Math.max(...offsets.map((offset, index) => offset + (buffers.bytes[index] ?? 0))))
      }
      // A clock that counts less than every pair where it is many.
      assert.ok(fit.work > 0 && fit.work < count ** 2)
    })
  }
})
