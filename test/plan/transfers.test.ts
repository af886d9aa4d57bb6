// When ranges are read and written: on random timelines every moment finds the last value of each byte however fast storage is,
// the budget holds wherever it can, and what a plan says of waiting is held against a simulation of its own.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { requestSeconds } from '../../compiler/plan/rates.ts'
import { transfersOf, waitsOf } from '../../compiler/plan/moments.ts'
import { planTransfers } from '../../compiler/plan/transfers.ts'
import type { PlannedRange, RangeUse, Timeline, TransferPlan } from '../../compiler/plan/moments.ts'
import { fastest, problemOf, slowest, uneven } from './moves.ts'
import { isOf, movesOf, sumBytes, timelines } from './timelines.ts'

const storage = { bytesPerSecond: 1000, latencySeconds: 0.01 }

/** Seconds of waiting, with one thread that takes what may begin first and is never ahead of memory. */
function simulate({ ranges }: TransferPlan, { seconds, read, write }: Timeline): number {
  const reads = ranges.filter(({ isRead }) => isRead)
  const writes = ranges.filter(({ isWritten }) => isWritten)
  const order: { isWrite: boolean; range: PlannedRange; after: number }[] = []
  for (let [r, w] = [0, 0]; r < reads.length || w < writes.length;) {
    // Of writes whichever may begin first.
    const next = writes
      .map((range, place) => ({ range, place }))
      .toSorted((a, b) => a.range.last - b.range.last || a.place - b.place)[w]?.range
    const isWrite = next !== undefined && next.last + 1 <= (reads[r]?.start ?? Infinity)
    const range = isWrite ? next : (reads[r] as PlannedRange)
    order.push({ isWrite, range, after: isWrite ? range.last + 1 : range.start })
    if (isWrite) w++
    else r++
  }
  const over = [0]
  const finished = order.map(() => 0)
  let [now, thread, begun] = [0, 0, 0]
  const begin = (moment: number): void => {
    for (let next = order[begun]; next && next.after <= moment; next = order[++begun]) {
      const { bytes, requests } = next.range
      thread = Math.max(thread, over[next.after] as number)
      thread += requestSeconds(bytes, next.isWrite ? write : read, requests)
      finished[begun] = thread
    }
  }
  seconds.forEach((length, moment) => {
    begin(moment)
    order.forEach(({ isWrite, range }, place) => {
      if (isWrite ? range.end < moment : range.first <= moment) now = Math.max(now, finished[place] as number)
    })
    now += length
    over.push(now)
  })
  begin(seconds.length)
  return Math.max(now, thread) - seconds.reduce((sum, length) => sum + length, 0)
}

describe('the plan of transfers', () => {
  it('has every range where it is used, in an order that one thread can keep', () => {
    const seen = { fresh: 0, kept: 0, behind: 0, ahead: 0 }
    fc.assert(
      fc.property(timelines, (timeline) => {
        const { ranges, readBytes, writtenBytes } = planTransfers(timeline)
        for (const use of timeline.uses) {
          const found = ranges.filter((one) => isOf(one, use))
          assert.equal(found.length, 1)
          assert.equal(found[0]?.bytes, use.bytes)
          assert.equal(found[0]?.requests, use.requests ?? 1)
        }
        let [start, first] = [0, 0]
        for (const range of ranges) {
          assert.ok(range.start <= range.first && range.first <= range.last && range.last <= range.end)
          assert.ok(range.first >= first && range.end < timeline.seconds.length)
          if (range.isRead) assert.ok(range.start >= start)
          if (!range.isRead) assert.equal(range.start, range.first)
          if (!range.isWritten) assert.equal(range.end, range.last)
          const uses = timeline.uses.filter((use) => isOf(range, use))
          const begin = uses.filter(({ moment }) => moment === range.first)
          assert.equal(
            range.isRead,
            begin.some(({ isFresh }) => isFresh !== true),
          )
          assert.equal(
            range.isWritten,
            uses.some(({ isWritten }) => isWritten),
          )
          assert.ok(begin.length > 0 && uses.some(({ moment }) => moment === range.last))
          if (range.isRead) start = range.start
          first = range.first
          if (!range.isRead) seen.fresh++
          if (range.isWritten && range.last > range.first) seen.kept++
          if (range.end > range.last) seen.behind++
          if (range.start < range.first) seen.ahead++
        }
        assert.equal(readBytes, sumBytes(ranges.filter(({ isRead }) => isRead)))
        assert.equal(writtenBytes, sumBytes(ranges.filter(({ isWritten }) => isWritten)))
      }),
      { numRuns: 400, seed: 1 },
    )
    for (const [what, times] of Object.entries(seen)) assert.ok(times > 100, `${what}: ${times}`)
  })

  it('lets every moment find what was written last, however fast storage is, and loses nothing', () => {
    fc.assert(
      fc.property(timelines, fc.nat(), (timeline, seed) => {
        const moves = movesOf(timeline, planTransfers(timeline))
        for (const pace of [slowest, fastest, uneven(seed)]) assert.equal(problemOf(moves, pace), undefined)
      }),
      { numRuns: 600 },
    )
  })

  it('takes no more than the budget, except where a moment alone needs more', () => {
    fc.assert(
      fc.property(timelines, (timeline) => {
        const { ranges } = planTransfers(timeline)
        timeline.live.forEach((live, moment) => {
          const keys = new Map(timeline.uses.filter((use) => use.moment === moment).map((use) => [use.key, use]))
          const least = live + sumBytes([...keys.values()])
          const alive = live + sumBytes(ranges.filter(({ start, end }) => start <= moment && moment <= end))
          assert.ok(alive <= Math.max(timeline.budget, least), `moment ${moment}`)
        })
      }),
      { numRuns: 400 },
    )
  })

  it('has no more waiting of what changes than eight moments change', () => {
    fc.assert(
      fc.property(timelines, (timeline) => {
        const ranges = planTransfers(timeline).ranges.filter(({ isWritten }) => isWritten)
        const moments = [...timeline.seconds.keys()]
        const most = Math.max(...moments.map((moment) => sumBytes(ranges.filter(({ last }) => last === moment))))
        for (const moment of moments) {
          const isAhead = ({ start, first }: PlannedRange): boolean => start <= moment && moment < first
          const isBehind = ({ last, end }: PlannedRange): boolean => last < moment && moment <= end
          for (const waits of [isAhead, isBehind]) assert.ok(sumBytes(ranges.filter(waits)) <= 8 * most)
        }
      }),
      { numRuns: 400 },
    )
  })

  it('says how long computing waits', () => {
    fc.assert(
      fc.property(timelines, (timeline) => {
        const plan = planTransfers(timeline)
        const computing = timeline.seconds.reduce((sum, length) => sum + length, 0)
        assert.ok(Math.abs(plan.computeSeconds - computing) < 1e-9)
        assert.ok(Math.abs(plan.stallSeconds - simulate(plan, timeline)) < 1e-9)
      }),
      { numRuns: 400 },
    )
  })

  const steady = (budget: number, seconds: number): TransferPlan =>
    planTransfers({
      uses: Array.from({ length: 40 }, (_, moment) => ({ key: `${moment % 20}`, bytes: 100, moment })),
      live: Array.from({ length: 40 }, () => 50),
      seconds: Array.from({ length: 40 }, () => seconds),
      budget,
      read: storage,
      write: storage,
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
    assert.equal(steady(250, 0.2).ranges.length, 40)
    const kept = steady(50 + 20 * 100 + 2 * 100, 0.2)
    assert.equal(kept.ranges.length, 20)
    assert.equal(kept.readBytes, 2000)
    let before = Infinity
    for (const budget of [150, 500, 1000, 1500, 2000, 2500]) {
      const { readBytes: bytes } = steady(budget, 0.2)
      assert.ok(bytes <= before, `${bytes} bytes within ${budget}`)
      before = bytes
    }
  })

  /** Moments of half a second without anything else; 1,000 bytes take a second. */
  const plan = (uses: Timeline['uses'], budget: number, live: readonly number[] = []): TransferPlan => {
    const moments = Array.from({ length: 30 }, (_, moment) => live[moment] ?? 0)
    const rate = { bytesPerSecond: 1000, latencySeconds: 0 }
    return planTransfers({ uses, live: moments, seconds: moments.map(() => 0.5), budget, read: rate, write: rate })
  }
  const startsOf = ({ ranges: reads }: TransferPlan): string[] =>
    reads.map(({ key, start, last }) => `${key} ${start} ${last}`)

  it('begins a read as late as hides it', () => {
    assert.deepEqual(startsOf(plan([{ key: 'a', bytes: 1000, moment: 10 }], 9999)), ['a 8 10'])
    assert.deepEqual(startsOf(plan([{ key: 'a', bytes: 1001, moment: 10 }], 9999)), ['a 7 10'])
    // One after the other: the first has to make way for the second.
    const both = [
      { key: 'a', bytes: 1000, moment: 10 },
      { key: 'b', bytes: 1500, moment: 11 },
    ]
    assert.deepEqual(startsOf(plan(both, 9999)), ['a 6 10', 'b 8 11'])
    // And no earlier than there is memory: something else takes it until then. b comes in time for when a is there, at 5.0 s.
    assert.deepEqual(startsOf(plan(both, 2600, [...Array.from({ length: 8 }, () => 2000), 0])), ['a 8 10', 'b 9 11'])
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
        .ranges.map(({ key }) => key)
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
      plan(crossing, 400, beside).ranges.map(({ key }) => key),
      ['long', 'short', 'long'],
    )
    // What lies before and behind does not matter.
    const full = [0, 0, 0, 999, 999, 0, 999, 999]
    const around = [4, 6].map((moment) => ({ key: 'a', bytes: 100, moment }))
    assert.equal(plan(around, 300, full).ranges.length, 1)
    const nested = [...around, { key: 'b', bytes: 100, moment: 1 }, { key: 'b', bytes: 100, moment: 5 }]
    const inOrder = nested.toSorted((a, b) => a.moment - b.moment)
    assert.deepEqual(
      plan(inOrder, 400).ranges.map(({ key }) => key),
      ['b', 'a'],
    )
  })

  it('shares a range between neighbours whatever the budget', () => {
    const uses = [4, 5, 6].map((moment) => ({ key: 'a', bytes: 100, moment }))
    assert.deepEqual(startsOf(plan(uses, 0)), ['a 4 6'])
    assert.equal(plan([...uses, { key: 'a', bytes: 100, moment: 8 }], 0).ranges.length, 2)
  })

  /** As `plan`, with tensors that change; writing takes twice as long as reading. */
  const changing = (uses: Timeline['uses'], budget: number, seconds = 0.5, moments = 30): TransferPlan =>
    planTransfers({
      uses: uses.map((use) => ({ extent: { tensor: use.key, begin: 0, end: 10 }, ...use })),
      live: Array.from({ length: moments }, () => 0),
      seconds: Array.from({ length: moments }, () => seconds),
      budget,
      read: { bytesPerSecond: 1000, latencySeconds: 0 },
      write: { bytesPerSecond: 500, latencySeconds: 0 },
    })
  const spansOf = ({ ranges }: TransferPlan): string[] =>
    ranges.map(({ key, start, first, last, end, isRead, isWritten }) =>
      [isRead ? 'reads' : 'makes', key, start, first, last, end, isWritten ? 'written' : 'left'].join(' '),
    )
  const changed = (key: string, moment: number, more: Partial<RangeUse> = {}): RangeUse => {
    return { key, bytes: 500, moment, isWritten: true, ...more }
  }

  it('writes behind the moments that change, for as long as that takes', () => {
    // Over at 5.5 s, and written by 6.5 s, when moment 13 begins.
    assert.deepEqual(spansOf(changing([changed('a', 10)], 9999)), ['reads a 9 10 10 12 written'])
    assert.deepEqual(spansOf(changing([changed('a', 10, { bytes: 501 })], 9999)), ['reads a 8 10 10 13 written'])
    // The second waits for the first.
    const both = [changed('a', 10), changed('b', 11, { isFresh: true })]
    assert.deepEqual(spansOf(changing(both, 9999)), ['reads a 9 10 10 12 written', 'makes b 11 11 11 14 written'])
    // All memory is for moment 11: it waits for a to be written (1 s), then for c to be read (0.9 s).
    const full = changing([...both, { key: 'c', bytes: 900, moment: 11 }], 1000)
    assert.deepEqual(spansOf(full), [
      'reads a 8 10 10 10 written',
      'makes b 11 11 11 14 written',
      'reads c 11 11 11 11 left',
    ])
    assert.ok(Math.abs(full.stallSeconds - 1.9) < 1e-9, `${full.stallSeconds}`)
    // There is just room for it, and not for a byte more.
    assert.deepEqual(spansOf(changing([changed('a', 10)], 500)), ['reads a 9 10 10 12 written'])
    assert.deepEqual(spansOf(changing([changed('a', 10)], 499)), ['reads a 10 10 10 10 written'])
    // What is used last is written last, even where it came first.
    const long = [changed('a', 8), changed('b', 9, { isFresh: true }), changed('a', 10)]
    assert.deepEqual(spansOf(changing(long, 9999)), ['reads a 7 8 10 13 written', 'makes b 9 9 9 11 written'])
    // What is written at the end is waited for.
    const late = changing([changed('a', 29, { isFresh: true })], 9999)
    assert.deepEqual([late.stallSeconds, late.readBytes, late.writtenBytes], [1, 0, 500])
  })

  it('writes what changes once for all moments between which it can stay', () => {
    const twice = [changed('a', 2), changed('a', 9)]
    assert.deepEqual(spansOf(changing(twice, 1500)), ['reads a 1 2 9 11 written'])
    // There has to be room for two such ranges besides.
    assert.deepEqual(spansOf(changing(twice, 1499)), ['reads a 1 2 2 4 written', 'reads a 8 9 9 11 written'])
    // Something between them has some of the same bytes, and must see what the first has made.
    const between = { key: 'b', bytes: 300, moment: 5, extent: { tensor: 'a', begin: 9, end: 12 } }
    const [one, other] = twice as [RangeUse, RangeUse]
    assert.deepEqual(spansOf(changing([one, between, other], 9999)), [
      'reads a 1 2 2 4 written',
      'reads b 4 5 5 5 left',
      'reads a 8 9 9 11 written',
    ])
    const beside = { ...between, extent: { tensor: 'a', begin: 10, end: 12 } }
    assert.equal(spansOf(changing([one, beside, other], 9999)).length, 2)
    // The same moments: what both only read may be there twice, but not while it changes.
    const reads = { ...one, isWritten: false }
    const with2 = changing([reads, { ...between, moment: 2 }, other], 9999)
    assert.deepEqual(spansOf(with2), ['reads a 0 2 2 2 left', 'reads b 1 2 2 2 left', 'reads a 8 9 9 11 written'])
    const with9 = changing([one, { ...between, moment: 9 }, { ...reads, moment: 9 }], 9999)
    assert.deepEqual(spansOf(with9), ['reads a 1 2 2 4 written', 'reads b 7 9 9 9 left', 'reads a 8 9 9 9 left'])
    const elsewhere = { ...between, extent: { tensor: 'b', begin: 9, end: 12 } }
    assert.equal(spansOf(changing([one, elsewhere, other], 9999)).length, 2)
  })

  it('reads again only what something else has changed, and nothing that is made anew', () => {
    const left = { key: 'a', bytes: 500, moment: 2 }
    assert.deepEqual(spansOf(changing([left, changed('a', 9, { isFresh: true })], 9999)), [
      'reads a 1 2 2 2 left',
      'makes a 9 9 9 11 written',
    ])
    // One argument makes all of it; another one has to find it.
    const made = changed('a', 9, { isFresh: true })
    for (const uses of [
      [made, { ...left, moment: 9 }],
      [{ ...left, moment: 9 }, made],
    ]) {
      assert.deepEqual(spansOf(changing(uses, 9999)), ['reads a 8 9 9 11 written'])
    }
    // A range is read only when all that it shares bytes with is written.
    const long = changed('a', 2, { bytes: 500 })
    const soon = { key: 'b', bytes: 4000, moment: 9, extent: { tensor: 'a', begin: 0, end: 3 } }
    const { ranges } = changing([long, soon], 9999)
    assert.deepEqual(spansOf(changing([long, soon], 9999))[1], 'reads b 3 9 9 9 left')
    assert.deepEqual(
      transfersOf(ranges).map(({ kind, range, after }) => `${kind} ${range} ${after}`),
      ['read 0 0', 'write 0 3', 'read 1 3'],
    )
    assert.throws(() => changing([long, { ...soon, moment: 2 }], 9999), /range b is in memory twice while it changes/)
  })

  it('waits before a moment for what it reads and for what leaves its memory, and for nothing else', () => {
    const ranges = [
      { key: 'a', start: 0, first: 1, last: 2, end: 3, isRead: true, isWritten: true },
      { key: 'b', start: 1, first: 4, last: 4, end: 4, isRead: true, isWritten: false },
      { key: 'c', start: 5, first: 5, last: 5, end: 6, isRead: false, isWritten: true },
    ].map((one): PlannedRange => ({ ...one, bytes: 1, requests: 1 }))
    const transfers = transfersOf(ranges)
    assert.deepEqual(
      transfers.map(({ kind, range, after }) => `${kind} ${range} ${after}`),
      ['read 0 0', 'read 1 1', 'write 0 3', 'write 2 6'],
    )
    assert.deepEqual([...waitsOf(ranges, transfers, 8)], [0, 1, 1, 1, 3, 3, 3, 4])
    assert.deepEqual([...waitsOf(ranges, transfers, 7)], [0, 1, 1, 1, 3, 3, 3])
  })

  it('lets changed ranges wait only while that helps: not more of them than eight moments change', () => {
    // Reading and writing take six times as long as computing: all would be read at once if there were memory.
    const uses = Array.from({ length: 20 }, (_, moment) => changed(`${moment}`, moment))
    const { ranges } = changing(uses, 99_999, 0.25, 20)
    for (const moment of uses.keys()) {
      const ahead = ranges.filter(({ start, first }) => start <= moment && moment < first)
      const behind = ranges.filter(({ last, end }) => last < moment && moment <= end)
      assert.ok(ahead.length <= 8 && behind.length <= 8, `moment ${moment}`)
    }
    // More than two moments ahead and behind, which is what hides longer computing.
    assert.ok(ranges.filter(({ start, first }) => first - start > 2).length >= 10)
    assert.ok(ranges.filter(({ last, end }) => end - last > 2).length >= 10)
  })

  it('begins reads later where moments wait for storage anyway', () => {
    // Each moment computes for 0.1 s and needs what is read in 0.5 s: the thread is never ahead.
    const uses = Array.from({ length: 20 }, (_, moment) => ({ key: `${moment}`, bytes: 500, moment }))
    const slow = changing(uses, 99_999, 0.1, 20)
    assert.ok(Math.abs(slow.stallSeconds - (20 * 0.5 - 19 * 0.1)) < 1e-9, `${slow.stallSeconds}`)
    // What the next moment needs is being read; that behind it may begin, and no more.
    assert.deepEqual(spansOf(slow).slice(4, 6), ['reads 4 2 4 4 4 left', 'reads 5 3 5 5 5 left'])
    // r0 comes in 10 s, for moment 10; r1 in 8 s more, for moment 20, which begins at 18 s. Moment 10 is the last by 10 s.
    const [r0, r1] = [
      { key: 'r0', bytes: 10_000, moment: 10 },
      { key: 'r1', bytes: 8000, moment: 20 },
    ]
    const late = changing([r0, r1], 99_999)
    assert.deepEqual(spansOf(late), ['reads r0 0 10 10 10 left', 'reads r1 9 20 20 20 left'])
    assert.ok(Math.abs(late.stallSeconds - 8) < 1e-9, `${late.stallSeconds}`)
    // To 18 s of reading there are 9 s of writing: r1 is given 12 s.
    const both = changing([r0, r1, changed('w', 29, { bytes: 4500, isFresh: true })], 99_999)
    assert.equal(spansOf(both)[1], 'reads r1 8 20 20 20 left')
  })
})
