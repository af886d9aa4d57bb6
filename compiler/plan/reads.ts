// When each range of a frozen tensor is read into the arena and how long it stays: as late as hides the reading behind
// computing, for as long as saves reading it again, and never beyond the memory there is. Arithmetic on a timeline; knows
// neither kernels nor files.

import { readSeconds } from './rates.ts'
import type { StorageRate } from './rates.ts'

/** Something that a moment of the timeline needs in memory. Equal keys are the same bytes. */
export interface RangeUse {
  readonly key: string
  readonly bytes: number
  readonly moment: number
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
  readonly storage: StorageRate
}

/** A range in memory from the moment at which its reading may begin to the last that uses it. */
export interface PlannedRead {
  readonly key: string
  readonly bytes: number
  readonly start: number
  /** The moment that has to wait for it. */
  readonly first: number
  readonly last: number
}

export interface ReadPlan {
  /** In the order in which they are read; starts never decrease. */
  readonly reads: readonly PlannedRead[]
  readonly bytes: number
  readonly computeSeconds: number
  /** What computing waits for storage, by this plan's own figures. */
  readonly stallSeconds: number
}

interface Draft {
  readonly key: string
  readonly bytes: number
  start: number
  readonly first: number
  last: number
}

/** Plans all reads. Where a moment alone needs more than the budget it gets that, and whoever asked has to look. */
export function planReads(timeline: Timeline): ReadPlan {
  const live = Float64Array.from(timeline.live)
  const drafts = keptRanges(timeline, live)
  fetchAhead(drafts, timeline, live)
  return { reads: drafts, bytes: drafts.reduce((sum, { bytes }) => sum + bytes, 0), ...predictStall(drafts, timeline) }
}

/** Ranges as they are used; two uses of one share a read where it can stay in memory between them. */
function keptRanges({ uses, budget }: Timeline, live: Float64Array): Draft[] {
  const latest = new Map<string, RangeUse>()
  const gaps: { readonly from: RangeUse; readonly to: RangeUse }[] = []
  const distinct: RangeUse[] = []
  for (const use of uses) {
    const before = latest.get(use.key)
    if (before?.moment === use.moment) continue
    if (before) gaps.push({ from: before, to: use })
    latest.set(use.key, use)
    distinct.push(use)
    live[use.moment] = (live[use.moment] ?? 0) + use.bytes
  }
  // Room for what is read meanwhile: the largest range twice.
  const reserve = 2 * distinct.reduce((most, { bytes }) => Math.max(most, bytes), 0)
  const kept = new Set<RangeUse>()
  // What stays for the shortest time saves most for its room.
  for (const { from, to } of gaps.toSorted((a, b) => a.to.moment - a.from.moment - (b.to.moment - b.from.moment))) {
    if (!fits(live, from.moment + 1, to.moment - 1, from.bytes + reserve, budget)) continue
    occupy(live, from.moment + 1, to.moment - 1, from.bytes)
    kept.add(to)
  }
  const drafts: Draft[] = []
  const current = new Map<string, Draft>()
  for (const use of distinct) {
    const draft = current.get(use.key)
    if (draft && kept.has(use)) {
      draft.last = use.moment
      continue
    }
    const made = { key: use.key, bytes: use.bytes, start: use.moment, first: use.moment, last: use.moment }
    current.set(use.key, made)
    drafts.push(made)
  }
  return drafts
}

/** Moves the starts of reads before the moments that need them. */
function fetchAhead(drafts: readonly Draft[], { seconds, budget, storage }: Timeline, live: Float64Array): void {
  const begins = prefixSums(seconds)
  // Backwards: when each read has to begin for nothing to wait, read one after another.
  const wanted: number[] = []
  let free = Infinity
  for (let place = drafts.length - 1; place >= 0; place--) {
    const { first, bytes } = drafts[place] as Draft
    free = Math.min(free, begins[first] ?? 0) - readSeconds(bytes, storage)
    wanted[place] = latestMoment(begins, free, first)
  }
  const move = (from: number): void => {
    let earliest = 0
    drafts.forEach((draft, place) => {
      const goal = Math.max(earliest, wanted[place] ?? 0, draft.first - from)
      while (draft.start > goal && (live[draft.start - 1] ?? 0) + draft.bytes <= budget) {
        draft.start--
        live[draft.start] = (live[draft.start] ?? 0) + draft.bytes
      }
      // One is read after the other: nobody starts before the one in front may.
      earliest = draft.start
    })
  }
  // Each one moment ahead before any goes further.
  move(1)
  move(Infinity)
}

function predictStall(
  drafts: readonly Draft[],
  { seconds, storage }: Timeline,
): { computeSeconds: number; stallSeconds: number } {
  const done = new Float64Array(seconds.length + 1)
  let [now, free, stall, next] = [0, 0, 0, 0]
  seconds.forEach((length, moment) => {
    for (let draft = drafts[next]; draft && draft.first === moment; draft = drafts[++next]) {
      free = Math.max(free, done[draft.start] ?? 0) + readSeconds(draft.bytes, storage)
      stall += Math.max(0, free - now)
      now = Math.max(now, free)
    }
    now += length
    done[moment + 1] = now
  })
  return { computeSeconds: now - stall, stallSeconds: stall }
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
