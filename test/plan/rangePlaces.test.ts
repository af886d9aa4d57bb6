// Ranges and values in one arena: on random timelines nothing lies where something else does, every moment finds what was written
// last, and what fits with the shortest lives fits; and where placing at once leaves gaps, ranges grow until there are few.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { alignment, placeInArena, settled } from '../../compiler/plan/arena.ts'
import type { Arena, Lifetime } from '../../compiler/plan/arena.ts'
import { placeWithRanges } from '../../compiler/plan/rangePlaces.ts'
import type { PlacedRanges, PlanWithin } from '../../compiler/plan/rangePlaces.ts'
import { planTransfers } from '../../compiler/plan/transfers.ts'
import type { TransferPlan } from '../../compiler/plan/moments.ts'
import { fastest, problemOf, slowest, uneven } from './moves.ts'
import { livesOf, movesOf, timelines } from './timelines.ts'
import type { RandomTimeline } from './timelines.ts'

/** Puts one buffer on another in the order given, so that most instances have gaps. */
function stacked(lifetimes: readonly Lifetime[]): Arena {
  let next = 0
  const offsets = lifetimes.map(({ bytes }) => (next += bytes) - bytes)
  const { lowerBound } = placeInArena(lifetimes)
  return { offsets, peak: next, lowerBound }
}

/** Lowest fit in the order given. */
function inOrder(lifetimes: readonly Lifetime[]): Arena {
  return settled(
    lifetimes,
    lifetimes.map((_, place) => place),
  )
}

/** With a gap before every buffer, as large as all that lies below it. */
function spread(lifetimes: readonly Lifetime[]): Arena {
  const { offsets, lowerBound } = placeInArena(lifetimes)
  const peak = lifetimes.reduce((most, { bytes }, index) => Math.max(most, 2 * (offsets[index] as number) + bytes), 0)
  return { offsets: offsets.map((offset) => 2 * offset), peak, lowerBound }
}

const placings = [placeInArena, stacked, inOrder, spread]

function placed(timeline: RandomTimeline, limit: number, placing = placeInArena): PlacedRanges<TransferPlan> {
  const { values, seconds } = timeline
  return placeWithRanges(placing, values, seconds.length, limit, (budget, memoryFor) =>
    planTransfers({ ...timeline, budget }, memoryFor),
  )
}

/** The arena with the lives that everything must have. */
function least(timeline: RandomTimeline, placing = placeInArena): Arena {
  return placing(livesOf(timeline, planTransfers({ ...timeline, budget: 0 })))
}

function assertApart(lives: readonly Lifetime[], { offsets, peak }: Arena): void {
  lives.forEach((one, index) => {
    const begin = offsets[index] as number
    assert.ok(begin >= 0 && begin % alignment === 0 && begin + one.bytes <= peak)
    lives.slice(0, index).forEach((other, place) => {
      if (other.first > one.last || one.first > other.last) return
      const from = offsets[place] as number
      assert.ok(from + other.bytes <= begin || begin + one.bytes <= from, `${place} and ${index}`)
    })
  })
}

const cases = fc.record({ timeline: timelines, placing: fc.constantFrom(...placings), seed: fc.nat() })

describe('ranges and values in one arena', () => {
  it('lie apart, are there for every use, and lose nothing however fast storage is', () => {
    fc.assert(
      fc.property(cases, ({ timeline, placing, seed }) => {
        const { planned, arena } = placed(timeline, timeline.budget, placing)
        assertApart(livesOf(timeline, planned), arena)
        const moves = movesOf(timeline, planned, arena)
        for (const pace of [slowest, fastest, uneven(seed)]) assert.equal(problemOf(moves, pace), undefined)
      }),
      { numRuns: 600 },
    )
  })

  it('are within the limit wherever the lives that they must have are, and otherwise take no more than those', () => {
    const seen = { fitting: 0, grown: 0, short: 0 }
    fc.assert(
      fc.property(cases, ({ timeline, placing }) => {
        const shortest = least(timeline, placing)
        const { planned, arena } = placed(timeline, timeline.budget, placing)
        if (shortest.peak <= timeline.budget) {
          assert.ok(arena.peak <= timeline.budget, `${arena.peak} of ${timeline.budget}, ${shortest.peak} would do`)
          seen.fitting++
          if (planned.ranges.some(({ start, first, last, end }) => start < first || last < end)) seen.grown++
        } else if (arena.peak > timeline.budget) {
          assert.ok(arena.peak <= shortest.peak)
          seen.short++
        }
      }),
      { numRuns: 4000, seed: 7 },
    )
    for (const [what, times] of Object.entries(seen)) assert.ok(times > 60, `${what}: ${times}`)
  })

  for (const [share, far] of [
    [1, 1.2],
    [1.5, 1.1],
  ] as const)
    // prettier-ignore
    it(`grow until there are few gaps, where all at once would leave many, with ${share} of the memory`, () => {
    const [moments, layers] = [240, 24]
    // Weights of three sizes that storage is slower with than computing, beside values that layers keep.
    const sizes = [8, 5, 13].map((units) => units * 1000 * alignment)
    const uses = Array.from({ length: moments }, (_, moment) => {
      const bytes = sizes[((moment * moment) >> 3) % sizes.length] as number
      return { key: `range ${moment}`, bytes, moment }
    })
    const values = Array.from({ length: layers }, (_, layer) => {
      const first = Math.floor((layer * moments) / (2 * layers))
      return { bytes: 700 * alignment, first, last: moments - 1 - first }
    })
    const live = Array.from({ length: moments }, (_, moment) =>
      values.reduce((sum, { bytes, first, last }) => sum + (first <= moment && moment <= last ? bytes : 0), 0),
    )
    const rate = { bytesPerSecond: 2e6, latencySeconds: 1e-4 }
    const seconds = uses.map((_, moment) => (moment % 7 === 0 ? 0.2 : 0.02))
    const limit = share * 40_000 * alignment
    const plan: PlanWithin<TransferPlan> = (budget, memoryFor) =>
      planTransfers({ uses, live, seconds, budget, read: rate, write: rate }, memoryFor)
    const wanted = plan(limit)
    const atOnce = placeInArena(livesOf({ values }, wanted))
    assert.ok(atOnce.peak > far * atOnce.lowerBound, `${atOnce.peak / atOnce.lowerBound}`)
    const { planned, arena } = placeWithRanges(placeInArena, values, moments, limit, plan)
    assert.ok(arena.peak <= limit && arena.peak <= 1.02 * arena.lowerBound, `${arena.peak / arena.lowerBound}`)
    assert.ok(planned.stallSeconds <= 1.01 * wanted.stallSeconds)
  })
})
