// How far ahead of the moments that need them ranges are read, and how far behind those that change them they are written.

import type { Draft } from './drafts.ts'
import { simulate } from './moments.ts'
import type { Timeline } from './moments.ts'
import { requestSeconds } from './rates.ts'
import type { StorageRate } from './rates.ts'

/** Where lives of ranges grow. */
export interface Memory {
  /** Whether a range may be in memory at a moment before its first one or after its last; it is then. */
  grow(draft: Draft, moment: number): boolean
}

/** As much as fits a budget at each moment, wherever it may lie. */
export class LiveBytes implements Memory {
  readonly #live: Float64Array
  readonly #budget: number

  constructor(live: Float64Array, budget: number) {
    this.#live = live
    this.#budget = budget
  }

  grow({ bytes }: Draft, moment: number): boolean {
    const alive = (this.#live[moment] ?? 0) + bytes
    if (alive > this.#budget) return false
    this.#live[moment] = alive
    return true
  }
}

/**
 * Of ranges that are changed, no more may wait in memory than eight moments' worth: enough to be written while what computes longer runs,
 * and no more for an update, where storage is what takes long.
 */
const MOST_WAITING = 8

class Waiting {
  readonly #bytes: Float64Array
  readonly #most: number

  constructor(drafts: readonly Draft[], moments: number) {
    this.#bytes = new Float64Array(moments)
    const changed = new Float64Array(moments)
    for (const { last, bytes, isWritten } of drafts) if (isWritten) changed[last] = (changed[last] ?? 0) + bytes
    this.#most = MOST_WAITING * changed.reduce((most, bytes) => Math.max(most, bytes), 0)
  }

  /** Whether a range may wait at a moment, and there is memory for it; it does then. */
  grow(draft: Draft, moment: number, memory: Memory): boolean {
    const sum = (this.#bytes[moment] ?? 0) + (draft.isWritten ? draft.bytes : 0)
    if (sum > this.#most || !memory.grow(draft, moment)) return false
    this.#bytes[moment] = sum
    return true
  }
}

/** Moves the starts of reads before the moments that need them. */
export class ReadAhead {
  readonly #drafts: readonly Draft[]
  readonly #memory: Memory
  readonly #wanted: readonly number[]
  readonly #waiting: Waiting

  constructor(drafts: readonly Draft[], { seconds, read }: Timeline, memory: Memory) {
    this.#drafts = drafts.filter(({ isRead }) => isRead)
    this.#waiting = new Waiting(drafts, seconds.length)
    this.#memory = memory
    const begins = prefixSums(seconds)
    // Backwards: when each read has to begin for nothing to wait, read one after another.
    const wanted: number[] = []
    let free = Infinity
    for (let place = this.#drafts.length - 1; place >= 0; place--) {
      const draft = this.#drafts[place] as Draft
      free = Math.min(free, begins[draft.first] ?? 0) - secondsOf(draft, read)
      wanted[place] = latestMoment(begins, free, draft.first)
    }
    this.#wanted = wanted
  }

  move(from: number): void {
    let before = 0
    this.#drafts.forEach((draft, place) => {
      const goal = Math.max(before, draft.earliest, this.#wanted[place] ?? 0, draft.first - from)
      for (let next = draft.start - 1; next >= goal; next--) {
        if (!this.#waiting.grow(draft, next, this.#memory)) break
        draft.start = next
      }
      // One is read after the other: nobody starts before the one in front may.
      before = draft.start
    })
  }
}

/** Moves the ends of ranges that are written behind the moments that change them. */
export class WriteBehind {
  readonly #drafts: readonly Draft[]
  readonly #memory: Memory
  readonly #wanted: readonly number[]
  readonly #waiting: Waiting

  constructor(drafts: readonly Draft[], { seconds, write }: Timeline, memory: Memory) {
    this.#drafts = drafts.filter(({ isWritten }) => isWritten).sort((a, b) => a.last - b.last)
    this.#memory = memory
    const begins = prefixSums(seconds)
    let free = 0
    this.#wanted = this.#drafts.map((draft) => {
      const { last } = draft
      free = Math.max(free, begins[last + 1] ?? 0) + secondsOf(draft, write)
      let end = last
      while (end + 1 < seconds.length && (begins[end + 1] ?? 0) < free) end++
      return end
    })
    this.#waiting = new Waiting(drafts, seconds.length)
  }

  move(by: number): void {
    this.#drafts.forEach((draft, place) => {
      const goal = Math.min(this.#wanted[place] ?? 0, draft.last + by)
      for (let next = draft.end + 1; next <= goal; next++) {
        if (!this.#waiting.grow(draft, next, this.#memory)) break
        draft.end = next
      }
    })
  }
}

/**
 * Memory is not held for reads that would only wait there: once the plan says when moments really begin, waiting for storage
 * included, reads begin as late as is in time for that, with their share of the writing that the one thread does as well.
 */
export function asLate(drafts: readonly Draft[], timeline: Timeline): void {
  const { begins } = simulate(drafts, timeline)
  const { read, write } = timeline
  const total = (wanted: readonly Draft[], rate: StorageRate): number =>
    wanted.reduce((sum, draft) => sum + secondsOf(draft, rate), 0)
  const reads = drafts.filter(({ isRead }) => isRead)
  const writing = total(
    drafts.filter(({ isWritten }) => isWritten),
    write,
  )
  const reading = total(reads, read)
  const share = 1 + writing / Math.max(reading, Number.MIN_VALUE)
  let free = Infinity
  for (const draft of reads.toReversed()) {
    const { first } = draft
    free = Math.min(free, begins[first] ?? 0) - share * secondsOf(draft, read)
    // One moment earlier, so that the next read is there to be made when the thread is done sooner than predicted.
    draft.start = Math.max(draft.start, Math.min(first, latestMoment(begins, free, first) - 1))
  }
}

function secondsOf({ bytes, requests }: Draft, rate: StorageRate): number {
  return requestSeconds(bytes, rate, requests)
}

/** The last moment up to `last` that begins no later than `time`; the first of all where none does. */
function latestMoment(begins: readonly number[], time: number, last: number): number {
  let [low, high] = [0, last]
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if ((begins[middle] ?? 0) <= time) low = middle
    else high = middle - 1
  }
  return low
}

function prefixSums(values: readonly number[]): number[] {
  const sums = [0]
  for (const value of values) sums.push((sums.at(-1) ?? 0) + value)
  return sums
}
