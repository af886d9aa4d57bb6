// What a step carries over in memory goes to its version as a whole, once, not before it is what it will be, and without anything
// else being moved later for it.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { keptPieces, withKept } from '../../compiler/plan/keeping.ts'
import type { CarriedPlace } from '../../compiler/plan/keeping.ts'
import { simulate, transfersOf, waitsOf } from '../../compiler/plan/moments.ts'
import type { PlannedTransfer } from '../../compiler/plan/moments.ts'
import { planTransfers } from '../../compiler/plan/transfers.ts'
import { timelines } from './timelines.ts'

const GAP = 64

/** Values with gaps of less than 64 bytes between them, and the bytes of all. */
const carried = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 900 }), fc.nat(12)), { minLength: 1, maxLength: 20 })
  .map((drawn) => {
    let total = 0
    const values = drawn.map(([bytes, after]): CarriedPlace => {
      const offset = total
      total += Math.ceil(bytes / GAP) * GAP
      return { offset, bytes, after }
    })
    return { values, total }
  })

describe('what is carried over in memory', () => {
  it('is cut into pieces that are all of it, each as late as the values in it', () => {
    fc.assert(
      fc.property(carried, fc.integer({ min: 1, max: 12 }), ({ values, total }, blocks) => {
        const most = GAP * blocks
        const pieces = keptPieces(values, total, most)
        let end = 0
        for (const { from, bytes, after } of pieces) {
          assert.ok(from === end && bytes > 0 && bytes <= most)
          end += bytes
          const within = values.filter((value) => value.offset < from + bytes && from < value.offset + value.bytes)
          for (const value of within) assert.ok(value.after <= after, `${from} goes before it is over`)
        }
        assert.equal(end, total)
        // Small values share pieces: two neighbours are never both less than half.
        for (let place = 1; place < pieces.length; place++) {
          const [one, two] = [pieces[place - 1]?.bytes ?? 0, pieces[place]?.bytes ?? 0]
          const isOfOneValue = values.some(({ offset, bytes }) => bytes > most / 2 && offset < (pieces[place]?.from ?? 0) + two && (pieces[place - 1]?.from ?? 0) < offset + bytes) // prettier-ignore
          assert.ok(isOfOneValue || one + two > most / 2, `${one} and ${two} of ${most}`)
        }
      }),
      { numRuns: 500 },
    )
    assert.deepEqual(keptPieces([], 0, 10), [])
    const values = [{ offset: 0, bytes: 64, after: 3 }, { offset: 64, bytes: 256, after: 1 }, { offset: 320, bytes: 8, after: 2 }] // prettier-ignore
    assert.deepEqual(keptPieces(values, 384, 128), [
      { from: 0, bytes: 64, after: 3 },
      { from: 64, bytes: 128, after: 1 },
      { from: 192, bytes: 128, after: 1 },
      { from: 320, bytes: 64, after: 2 },
    ])
    // Two that fill a piece share it.
    const pair = [{ offset: 0, bytes: 64, after: 3 }, { offset: 64, bytes: 64, after: 1 }] // prettier-ignore
    assert.deepEqual(keptPieces(pair, 128, 128), [{ from: 0, bytes: 128, after: 3 }])
  })

  it('fills the time that there is, with what is over first', () => {
    // Two ranges of 10 bytes, read in 10 s for moments of 30 s, the second when the first moment is over: 30 s in which nothing moves.
    const common = { bytes: 10, isRead: true, isWritten: false, requests: 1 }
    const ranges = [
      { ...common, key: 'a', start: 0, first: 0, last: 0, end: 0 },
      { ...common, key: 'b', start: 1, first: 1, last: 1, end: 1 },
    ]
    const rate = { bytesPerSecond: 1, latencySeconds: 0 }
    const pace = { seconds: [30, 30], read: rate, write: rate }
    const orderOf = (...pieces: readonly (readonly [bytes: number, after: number])[]): string =>
      withKept(
        ranges,
        pieces.map(([bytes, after], place) => ({ from: 100 * place, bytes, after })),
        pace,
      )
        .map(({ kind, range, after }) => `${kind} ${range} ${after}`)
        .join(', ')
    assert.equal(orderOf([30, 0]), 'read 0 0, keep 0 0, read 1 1')
    assert.equal(orderOf([31, 0]), 'read 0 0, read 1 1, keep 0 1')
    assert.equal(orderOf([10, 1], [10, 0], [20, 0]), 'read 0 0, keep 1 0, keep 2 0, read 1 1, keep 0 1')
  })

  it('is moved where nothing else is, and the rest of it at the end', () => {
    const seen = { between: 0, behind: 0 }
    fc.assert(
      fc.property(timelines, carried, (timeline, { values, total }) => {
        const { ranges } = planTransfers(timeline)
        const moments = timeline.seconds.length
        const late = values.map((value) => ({ ...value, after: Math.min(value.after, moments) }))
        const pieces = keptPieces(late, total, 256)
        const order = withKept(ranges, pieces, timeline)
        const isRange = ({ kind }: PlannedTransfer): boolean => kind !== 'keep'
        const kept = order.filter((one) => !isRange(one))
        assert.deepEqual(order.filter(isRange), transfersOf(ranges))
        assert.deepEqual(kept.map(({ range }) => range).sort((a, b) => a - b), [...pieces.keys()]) // prettier-ignore
        order.forEach(({ after }, place) => assert.ok(after >= (order[place - 1]?.after ?? 0)))
        for (const { range, after } of kept) assert.ok(after >= (pieces[range]?.after ?? Infinity) && after <= moments)
        const [before, now] = [simulate(ranges, timeline), simulate(ranges, timeline, order, pieces)]
        const moved = order.flatMap((one, place) => (isRange(one) ? [place] : []))
        moved.forEach((place, own) => assert.ok(Math.abs((now.begun[place] as number) - (before.begun[own] as number)) < 1e-9)) // prettier-ignore
        now.begins.forEach((begin, moment) => assert.ok(Math.abs(begin - (before.begins[moment] as number)) < 1e-9))
        // Who waits for a range waits for no more ranges than without.
        const [waits, own] = [waitsOf(ranges, order, moments), waitsOf(ranges, transfersOf(ranges), moments)]
        waits.forEach((count, moment) => assert.equal(order.slice(0, count).filter(isRange).length, own[moment]))
        const last = order.findLastIndex(isRange)
        for (const [place, one] of order.entries()) if (!isRange(one)) seen[place < last ? 'between' : 'behind']++
      }),
      { numRuns: 500 },
    )
    assert.ok(seen.between > 100 && seen.behind > 100, JSON.stringify(seen))
  })
})
