// When ranges are read: on random timelines every use finds its range, the budget holds wherever it can, and reads come in
// an order that one thread can keep. What a plan says of waiting is held against a simulation of its own.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { readSeconds } from '../../compiler/plan/rates.ts'
import { planReads } from '../../compiler/plan/reads.ts'
import type { ReadPlan, Timeline } from '../../compiler/plan/reads.ts'

const storage = { bytesPerSecond: 1000, latencySeconds: 0.01 }

const timelines = fc
  .record({
    live: fc.array(fc.nat(500), { minLength: 1, maxLength: 60, size: 'max' }),
    wanted: fc.array(fc.tuple(fc.nat(5), fc.nat(59)), { maxLength: 80, size: 'max' }),
    sizes: fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 6, maxLength: 6 }),
    budget: fc.integer({ min: 0, max: 1500 }),
    seconds: fc.integer({ min: 0, max: 3 }),
  })
  .map(({ live, wanted, sizes, budget, seconds }): Timeline => {
    const uses = wanted
      .filter(([, moment]) => moment < live.length)
      .map(([key, moment]) => ({ key: `${key}`, bytes: sizes[key] as number, moment }))
      .sort((a, b) => a.moment - b.moment)
    return { uses, live, seconds: live.map((_, moment) => (seconds * (1 + (moment % 3))) / 10), budget, storage }
  })

function aliveAt({ reads }: ReadPlan, moment: number): number {
  return reads.reduce((sum, { start, last, bytes }) => sum + (start <= moment && moment <= last ? bytes : 0), 0)
}

/** Seconds of computing and of waiting, with one reader that is never ahead of its memory. */
function simulate({ reads }: ReadPlan, { seconds }: Timeline): number {
  const begun: number[] = []
  const over = [0]
  let reader = 0
  let now = 0
  const finished = reads.map(() => 0)
  let next = 0
  seconds.forEach((length, moment) => {
    while (next < reads.length && (reads[next]?.start ?? Infinity) <= moment) {
      const read = reads[next] as (typeof reads)[number]
      reader = Math.max(reader, over[read.start] as number) + readSeconds(read.bytes, storage)
      finished[next++] = reader
    }
    reads.forEach((read, place) => {
      if (read.first === moment) now = Math.max(now, finished[place] as number)
    })
    begun.push(now)
    now += length
    over.push(now)
  })
  return now - seconds.reduce((sum, length) => sum + length, 0)
}

describe('the plan of reads', () => {
  it('has every range where it is used, in an order that one thread can keep', () => {
    fc.assert(
      fc.property(timelines, (timeline) => {
        const plan = planReads(timeline)
        for (const { key, bytes, moment } of timeline.uses) {
          const found = plan.reads.filter((one) => one.key === key && one.first <= moment && moment <= one.last)
          assert.equal(found.length, 1)
          assert.equal(found[0]?.bytes, bytes)
        }
        plan.reads.forEach(({ start, first, last }, place) => {
          assert.ok(start >= (plan.reads[place - 1]?.start ?? 0) && start <= first && first <= last)
          assert.ok(first >= (plan.reads[place - 1]?.first ?? 0))
        })
        assert.equal(
          plan.bytes,
          plan.reads.reduce((sum, { bytes }) => sum + bytes, 0),
        )
      }),
      { numRuns: 400 },
    )
  })

  it('takes no more than the budget, except where a moment alone needs more', () => {
    fc.assert(
      fc.property(timelines, (timeline) => {
        const plan = planReads(timeline)
        timeline.live.forEach((live, moment) => {
          const keys = new Map(
            timeline.uses.filter((use) => use.moment === moment).map(({ key, bytes }) => [key, bytes]),
          )
          const least = live + [...keys.values()].reduce((sum, bytes) => sum + bytes, 0)
          assert.ok(live + aliveAt(plan, moment) <= Math.max(timeline.budget, least), `moment ${moment}`)
        })
      }),
      { numRuns: 400 },
    )
  })

  it('says how long computing waits', () => {
    fc.assert(
      fc.property(timelines, (timeline) => {
        const plan = planReads(timeline)
        const computing = timeline.seconds.reduce((sum, length) => sum + length, 0)
        assert.ok(Math.abs(plan.computeSeconds - computing) < 1e-9)
        assert.ok(Math.abs(plan.stallSeconds - simulate(plan, timeline)) < 1e-9)
      }),
      { numRuns: 400 },
    )
  })

  const steady = (budget: number, seconds: number): ReadPlan =>
    planReads({
      uses: Array.from({ length: 40 }, (_, moment) => ({ key: `${moment % 20}`, bytes: 100, moment })),
      live: Array.from({ length: 40 }, () => 50),
      seconds: Array.from({ length: 40 }, () => seconds),
      budget,
      storage,
    })

  it('hides reading behind computing where there is room for the next range, and for that alone', () => {
    const [none, one] = [steady(150, 0.2), steady(250, 0.2)]
    // The first range of all has nothing to hide behind.
    assert.ok(Math.abs(one.stallSeconds - 0.11) < 1e-9, `${one.stallSeconds}`)
    assert.ok(Math.abs(none.stallSeconds - 40 * 0.11) < 1e-9, `${none.stallSeconds}`)
    // Reading takes longer than computing: what is ahead cannot make up for it.
    assert.ok(steady(10_000, 0.05).stallSeconds > 0.5)
  })

  it('keeps what is used again where there is room, and reads it once', () => {
    assert.equal(steady(250, 0.2).reads.length, 40)
    const kept = steady(50 + 20 * 100 + 2 * 100, 0.2)
    assert.equal(kept.reads.length, 20)
    assert.equal(kept.bytes, 2000)
    let before = Infinity
    for (const budget of [150, 500, 1000, 1500, 2000, 2500]) {
      const { bytes } = steady(budget, 0.2)
      assert.ok(bytes <= before, `${bytes} bytes within ${budget}`)
      before = bytes
    }
  })

  /** Moments of half a second without anything else; 1,000 bytes take a second. */
  const plan = (uses: Timeline['uses'], budget: number, live: readonly number[] = []): ReadPlan => {
    const moments = Array.from({ length: 30 }, (_, moment) => live[moment] ?? 0)
    const rate = { bytesPerSecond: 1000, latencySeconds: 0 }
    return planReads({ uses, live: moments, seconds: moments.map(() => 0.5), budget, storage: rate })
  }
  const startsOf = ({ reads }: ReadPlan): string[] => reads.map(({ key, start, last }) => `${key} ${start} ${last}`)

  it('begins a read as late as hides it', () => {
    assert.deepEqual(startsOf(plan([{ key: 'a', bytes: 1000, moment: 10 }], 9999)), ['a 8 10'])
    assert.deepEqual(startsOf(plan([{ key: 'a', bytes: 1001, moment: 10 }], 9999)), ['a 7 10'])
    // One after the other: the first has to make way for the second.
    const both = [
      { key: 'a', bytes: 1000, moment: 10 },
      { key: 'b', bytes: 1500, moment: 11 },
    ]
    assert.deepEqual(startsOf(plan(both, 9999)), ['a 6 10', 'b 8 11'])
    // And no earlier than there is memory: something else takes it until then.
    assert.deepEqual(startsOf(plan(both, 2600, [...Array.from({ length: 8 }, () => 2000), 0])), ['a 8 10', 'b 8 11'])
  })

  it('keeps what is wanted again soonest', () => {
    const uses = [
      { key: 'a', bytes: 100, moment: 1 },
      { key: 'b', bytes: 100, moment: 3 },
      { key: 'c', bytes: 100, moment: 5 },
      { key: 'b', bytes: 100, moment: 7 },
      { key: 'a', bytes: 100, moment: 9 },
    ]
    const kept = (budget: number): string =>
      plan(uses, budget)
        .reads.map(({ key }) => key)
        .join('')
    // Beside what a moment needs, twice the largest range stays free for what is read ahead.
    assert.equal(kept(399), 'abcba')
    assert.equal(kept(400), 'abca')
    assert.equal(kept(499), 'abca')
    assert.equal(kept(500), 'abc')
    const crossing = [
      { key: 'long', bytes: 100, moment: 1 },
      { key: 'short', bytes: 100, moment: 6 },
      { key: 'long', bytes: 100, moment: 9 },
      { key: 'short', bytes: 100, moment: 12 },
    ]
    const beside = [0, 0, 0, 0, 0, 0, 0, 50]
    assert.deepEqual(
      plan(crossing, 400, beside).reads.map(({ key }) => key),
      ['long', 'short', 'long'],
    )
    // What lies before and behind does not matter.
    const full = [0, 0, 0, 999, 999, 0, 999, 999]
    const around = [4, 6].map((moment) => ({ key: 'a', bytes: 100, moment }))
    assert.equal(plan(around, 300, full).reads.length, 1)
    const nested = [...around, { key: 'b', bytes: 100, moment: 1 }, { key: 'b', bytes: 100, moment: 5 }]
    const inOrder = nested.toSorted((a, b) => a.moment - b.moment)
    assert.deepEqual(
      plan(inOrder, 400).reads.map(({ key }) => key),
      ['b', 'a'],
    )
  })

  it('shares a range between neighbours whatever the budget', () => {
    const uses = [4, 5, 6].map((moment) => ({ key: 'a', bytes: 100, moment }))
    assert.deepEqual(startsOf(plan(uses, 0)), ['a 4 6'])
    assert.equal(plan([...uses, { key: 'a', bytes: 100, moment: 8 }], 0).reads.length, 2)
  })
})
