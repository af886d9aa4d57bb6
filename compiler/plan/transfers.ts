// When each range of a tensor comes into the arena, how long it stays, and when it goes back: read as late as hides the reading
// behind computing, kept for as long as saves reading it again, written behind what computes next, and never beyond the memory
// there is. Arithmetic on a timeline; knows neither kernels nor files.

import { InternalError } from '../diagnostic.ts'
import { requestSeconds } from './rates.ts'
import type { StorageRate } from './rates.ts'

interface Extent {
  readonly tensor: string
  readonly begin: number
  readonly end: number
}

/** Something that a moment of the timeline needs in memory. Equal keys are the same bytes. */
export interface RangeUse {
  readonly key: string
  /** What it takes in memory, and what is read or written of it. */
  readonly bytes: number
  readonly moment: number
  /** The moment changes it. */
  readonly isWritten?: boolean
  /** The use writes all of it and reads nothing. */
  readonly isFresh?: boolean
  /** Where it lies, when it is of a tensor that changes: `begin` … `end` − 1. */
  readonly extent?: Extent
  /** Requests to storage that bring it; 1 unless given. */
  readonly requests?: number
}

export interface Timeline {
  /** In the order of their moments. */
  readonly uses: readonly RangeUse[]
  /** Bytes alive at each moment without any range. */
  readonly live: readonly number[]
  /** How long each moment computes. */
  readonly seconds: readonly number[]
  /** Bytes that may be alive at any moment. */
  readonly budget: number
  readonly read: StorageRate
  readonly write: StorageRate
}

/** A range in memory from moment `start`, at which its reading may begin, to `end`, by which its writing is done. */
export interface PlannedRange {
  readonly key: string
  readonly bytes: number
  readonly start: number
  /** The moment that has to wait for it. */
  readonly first: number
  /** The last one that uses it: its writing may begin behind it. */
  readonly last: number
  readonly end: number
  readonly isRead: boolean
  readonly isWritten: boolean
  readonly requests: number
}

export interface TransferPlan {
  /** In the order of their first moments; those that are read have starts that never decrease. */
  readonly ranges: readonly PlannedRange[]
  readonly readBytes: number
  readonly writtenBytes: number
  readonly computeSeconds: number
  /** What computing waits for storage, by this plan's own figures. */
  readonly stallSeconds: number
}

/** One of a function's transfers, which are made in this order. */
export interface PlannedTransfer {
  readonly kind: 'read' | 'write'
  /** Position in the plan. */
  readonly range: number
  /** Moments that must be over before it may begin. */
  readonly after: number
}

interface Draft extends Omit<PlannedRange, 'start' | 'last' | 'end' | 'isWritten'> {
  readonly extent: RangeUse['extent']
  start: number
  last: number
  end: number
  isWritten: boolean
  /** It cannot be read before: something that changes it is not over, or not written. */
  earliest: number
}

/** Plans all transfers. Where a moment alone needs more than the budget it gets that, and whoever asked has to look. */
export function planTransfers(timeline: Timeline): TransferPlan {
  const live = Float64Array.from(timeline.live)
  const drafts = keptRanges(timeline, live)
  keepOrder(drafts)
  const read = new ReadAhead(drafts, timeline, live)
  const write = new WriteBehind(drafts, timeline, live)
  // Each one moment ahead, or behind, before any goes further.
  read.move(1)
  write.move(1)
  read.move(Infinity)
  write.move(Infinity)
  asLate(drafts, timeline)
  const { computeSeconds, stallSeconds } = simulate(drafts, timeline)
  const total = (of: (draft: Draft) => boolean): number =>
    drafts.reduce((sum, draft) => sum + (of(draft) ? draft.bytes : 0), 0)
  return {
    ranges: drafts,
    readBytes: total(({ isRead }) => isRead),
    writtenBytes: total(({ isWritten }) => isWritten),
    computeSeconds,
    stallSeconds,
  }
}

/** All reads and writes of a plan in an order that one thread can keep: what may begin first comes first. */
export function transfersOf(ranges: readonly PlannedRange[]): PlannedTransfer[] {
  const transfers = ranges.flatMap(({ start, last, isRead, isWritten }, range): PlannedTransfer[] => [
    ...(isRead ? [{ kind: 'read' as const, range, after: start }] : []),
    ...(isWritten ? [{ kind: 'write' as const, range, after: last + 1 }] : []),
  ])
  // Of two that may begin at one moment a write makes room, and may be of what is read next: its range comes first, as it was
  // used before, and sorting keeps that.
  return transfers.sort((a, b) => a.after - b.after)
}

/** For each moment how many of the transfers must be done before it: what it reads, and what was written from its memory. */
export function waitsOf(
  ranges: readonly PlannedRange[],
  transfers: readonly PlannedTransfer[],
  moments: number,
): Int32Array {
  const waits = new Int32Array(moments)
  transfers.forEach(({ kind, range }, place) => {
    const { first, end } = ranges[range] as PlannedRange
    const moment = kind === 'read' ? first : end + 1
    if (moment < moments) waits[moment] = Math.max(waits[moment] ?? 0, place + 1)
  })
  for (let moment = 1; moment < moments; moment++) {
    waits[moment] = Math.max(waits[moment] ?? 0, waits[moment - 1] ?? 0)
  }
  return waits
}

/** Ranges as they are used; two uses of one share a read where it can stay in memory between them. */
function keptRanges({ uses, budget }: Timeline, live: Float64Array): Draft[] {
  const latest = new Map<string, RangeUse>()
  const gaps: { readonly from: RangeUse; readonly to: RangeUse }[] = []
  const distinct = onceAMoment(uses)
  for (const use of distinct) {
    const before = latest.get(use.key)
    if (before) gaps.push({ from: before, to: use })
    latest.set(use.key, use)
    live[use.moment] = (live[use.moment] ?? 0) + use.bytes
  }
  const others = new Changes(uses)
  // Room for what is read meanwhile: the largest range twice.
  const reserve = 2 * distinct.reduce((most, { bytes }) => Math.max(most, bytes), 0)
  const kept = new Set<RangeUse>()
  // What stays for the shortest time saves most for its room.
  for (const { from, to } of gaps.toSorted((a, b) => a.to.moment - a.from.moment - (b.to.moment - b.from.moment))) {
    // What is written anew need not be read again.
    if (to.isFresh === true && from.isWritten !== true) continue
    if (others.between(from, to)) continue
    if (!fits(live, from.moment + 1, to.moment - 1, from.bytes + reserve, budget)) continue
    occupy(live, from.moment + 1, to.moment - 1, from.bytes)
    kept.add(to)
  }
  const drafts: Draft[] = []
  const current = new Map<string, Draft>()
  for (const use of distinct) {
    const { key, bytes, moment, extent, requests = 1, isWritten = false, isFresh = false } = use
    const draft = current.get(key)
    if (draft && kept.has(use)) {
      draft.last = draft.end = moment
      draft.isWritten ||= isWritten
      continue
    }
    const spans = { start: moment, first: moment, last: moment, end: moment, earliest: 0 }
    const made: Draft = { key, bytes, extent, requests, isRead: !isFresh, isWritten, ...spans }
    current.set(key, made)
    drafts.push(made)
  }
  return drafts
}

/** All uses of a range by one moment as one: it is changed where one of them does that, and fresh only where all of them are. */
function onceAMoment(uses: readonly RangeUse[]): RangeUse[] {
  const known = new Map<string, RangeUse>()
  for (const use of uses) {
    const key = `${use.moment} ${use.key}`
    const { isWritten = false, isFresh = true } = known.get(key) ?? {}
    known.set(key, {
      ...use,
      isWritten: isWritten || use.isWritten === true,
      isFresh: isFresh && use.isFresh === true,
    })
  }
  return [...known.values()]
}

/** Uses of tensors that change, for asking whether two of them see the same bytes. */
class Changes {
  readonly #byTensor = new Map<string, { readonly use: RangeUse; readonly extent: Extent }[]>()

  constructor(uses: readonly RangeUse[]) {
    for (const use of uses) {
      const { extent } = use
      if (!extent) continue
      const known = this.#byTensor.get(extent.tensor) ?? []
      known.push({ use, extent })
      this.#byTensor.set(extent.tensor, known)
    }
  }

  /** Whether another range that shares bytes with this one is used between two of its uses. */
  between({ key, moment, extent: own }: RangeUse, to: RangeUse): boolean {
    if (!own) return false
    const uses = this.#byTensor.get(own.tensor) ?? []
    return uses.some(
      ({ use, extent }) => use.key !== key && moment <= use.moment && use.moment <= to.moment && overlap(extent, own),
    )
  }
}

function overlap(one: Extent, other: Extent): boolean {
  return one.begin < other.end && other.begin < one.end
}

/** What changes is written before it, or anything that shares bytes with it, is read again. */
function keepOrder(drafts: readonly Draft[]): void {
  const before = new Map<string, { readonly other: Draft; readonly its: Extent }[]>()
  for (const draft of drafts) {
    const { extent } = draft
    if (!extent) continue
    const known = before.get(extent.tensor) ?? []
    for (const { other, its } of known) {
      if ((!other.isWritten && !draft.isWritten) || !overlap(its, extent)) continue
      if (other.last >= draft.first) throw new InternalError(`range ${draft.key} is in memory twice while it changes`)
      draft.earliest = Math.max(draft.earliest, other.last + 1)
    }
    known.push({ other: draft, its: extent })
    before.set(extent.tensor, known)
  }
}

/** Of ranges that are changed, no more may wait in memory than two moments' worth: storage is what takes long there. */
class Waiting {
  readonly #bytes: Float64Array
  readonly #most: number

  constructor(drafts: readonly Draft[], moments: number) {
    this.#bytes = new Float64Array(moments)
    const changed = new Float64Array(moments)
    for (const { last, bytes, isWritten } of drafts) if (isWritten) changed[last] = (changed[last] ?? 0) + bytes
    this.#most = 2 * changed.reduce((most, bytes) => Math.max(most, bytes), 0)
  }

  /** Whether a range may wait at a moment; it does then. */
  admits({ bytes, isWritten }: Draft, moment: number): boolean {
    const sum = (this.#bytes[moment] ?? 0) + bytes
    if (!isWritten) return true
    if (sum > this.#most) return false
    this.#bytes[moment] = sum
    return true
  }
}

/** Moves the starts of reads before the moments that need them. */
class ReadAhead {
  readonly #drafts: readonly Draft[]
  readonly #budget: number
  readonly #live: Float64Array
  readonly #wanted: readonly number[]
  readonly #waiting: Waiting

  constructor(drafts: readonly Draft[], { seconds, budget, read }: Timeline, live: Float64Array) {
    this.#drafts = drafts.filter(({ isRead }) => isRead)
    this.#waiting = new Waiting(drafts, seconds.length)
    this.#budget = budget
    this.#live = live
    const begins = prefixSums(seconds)
    // Backwards: when each read has to begin for nothing to wait, read one after another.
    const wanted: number[] = []
    let free = Infinity
    for (let place = this.#drafts.length - 1; place >= 0; place--) {
      const { first, bytes, requests } = this.#drafts[place] as Draft
      free = Math.min(free, begins[first] ?? 0) - requestSeconds(bytes, read, requests)
      wanted[place] = latestMoment(begins, free, first)
    }
    this.#wanted = wanted
  }

  move(from: number): void {
    const live = this.#live
    let before = 0
    this.#drafts.forEach((draft, place) => {
      const goal = Math.max(before, draft.earliest, this.#wanted[place] ?? 0, draft.first - from)
      for (let next = draft.start - 1; next >= goal; next--) {
        const alive = (live[next] ?? 0) + draft.bytes
        if (alive > this.#budget || !this.#waiting.admits(draft, next)) break
        live[next] = alive
        draft.start = next
      }
      // One is read after the other: nobody starts before the one in front may.
      before = draft.start
    })
  }
}

/** Moves the ends of ranges that are written behind the moments that change them. */
class WriteBehind {
  readonly #drafts: readonly Draft[]
  readonly #budget: number
  readonly #live: Float64Array
  readonly #wanted: readonly number[]
  readonly #waiting: Waiting

  constructor(drafts: readonly Draft[], { seconds, budget, write }: Timeline, live: Float64Array) {
    this.#drafts = drafts.filter(({ isWritten }) => isWritten).sort((a, b) => a.last - b.last)
    this.#budget = budget
    this.#live = live
    const begins = prefixSums(seconds)
    let free = 0
    this.#wanted = this.#drafts.map(({ last, bytes, requests }) => {
      free = Math.max(free, begins[last + 1] ?? 0) + requestSeconds(bytes, write, requests)
      let end = last
      while (end + 1 < seconds.length && (begins[end + 1] ?? 0) < free) end++
      return end
    })
    this.#waiting = new Waiting(drafts, seconds.length)
  }

  move(by: number): void {
    const live = this.#live
    this.#drafts.forEach((draft, place) => {
      const goal = Math.min(this.#wanted[place] ?? 0, draft.last + by)
      for (let next = draft.end + 1; next <= goal; next++) {
        const alive = (live[next] ?? 0) + draft.bytes
        if (alive > this.#budget || !this.#waiting.admits(draft, next)) break
        live[next] = alive
        draft.end = next
      }
    })
  }
}

/**
 * Memory is not held for reads that would only wait there: once the plan says when moments really begin, waiting for storage
 * included, reads begin as late as is in time for that, with their share of the writing that the one thread does as well.
 */
function asLate(drafts: readonly Draft[], timeline: Timeline): void {
  const { begins } = simulate(drafts, timeline)
  const { read, write } = timeline
  const total = (wanted: readonly Draft[], rate: StorageRate): number =>
    wanted.reduce((sum, { bytes, requests }) => sum + requestSeconds(bytes, rate, requests), 0)
  const reads = drafts.filter(({ isRead }) => isRead)
  const writes = drafts.filter(({ isWritten }) => isWritten)
  const share = 1 + total(writes, write) / Math.max(total(reads, read), Number.MIN_VALUE)
  let free = Infinity
  for (const draft of reads.toReversed()) {
    const { first, bytes, requests } = draft
    free = Math.min(free, begins[first] ?? 0) - share * requestSeconds(bytes, read, requests)
    // One moment earlier, so that the next read is there to be made when the thread is done sooner than predicted.
    draft.start = Math.max(draft.start, Math.min(first, latestMoment(begins, free, first) - 1))
  }
}

interface Simulated {
  readonly computeSeconds: number
  readonly stallSeconds: number
  /** When each moment begins to compute. */
  readonly begins: readonly number[]
}

/** A function as it would run by the plan's own figures. */
function simulate(ranges: readonly PlannedRange[], { seconds, read, write }: Timeline): Simulated {
  const transfers = transfersOf(ranges)
  const waits = waitsOf(ranges, transfers, seconds.length)
  const over = new Float64Array(seconds.length + 1)
  const begins: number[] = []
  let [now, free, stall, next] = [0, 0, 0, 0]
  const waitFor = (count: number): void => {
    if (next >= count) return
    for (; next < count; next++) {
      const { kind, range, after } = transfers[next] as PlannedTransfer
      const { bytes, requests } = ranges[range] as PlannedRange
      free = Math.max(free, over[after] ?? 0) + requestSeconds(bytes, kind === 'read' ? read : write, requests)
    }
    stall += Math.max(0, free - now)
    now = Math.max(now, free)
  }
  seconds.forEach((length, moment) => {
    waitFor(waits[moment] ?? 0)
    begins.push(now)
    now += length
    over[moment + 1] = now
  })
  waitFor(transfers.length)
  return { computeSeconds: now - stall, stallSeconds: stall, begins }
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

function fits(live: Float64Array, from: number, to: number, bytes: number, budget: number): boolean {
  for (let moment = from; moment <= to; moment++) if ((live[moment] ?? 0) + bytes > budget) return false
  return true
}

function occupy(live: Float64Array, from: number, to: number, bytes: number): void {
  for (let moment = from; moment <= to; moment++) live[moment] = (live[moment] ?? 0) + bytes
}
