// Ranges as a plan of transfers makes them up: which uses share a read, and what must be written before it is read again.

import { InternalError } from '../diagnostic.ts'
import type { Extent, PlannedRange, RangeUse, Timeline } from './moments.ts'

export interface Draft extends Omit<PlannedRange, 'start' | 'last' | 'end' | 'isWritten'> {
  readonly extent: RangeUse['extent']
  start: number
  last: number
  end: number
  isWritten: boolean
  /** It cannot be read before: something that changes it is not over, or not written. */
  earliest: number
}

/** Ranges as they are used; two uses of one share a read where it can stay in memory between them. */
export function keptRanges({ uses, budget }: Timeline, live: Float64Array): Draft[] {
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
export function keepOrder(drafts: readonly Draft[]): void {
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

function fits(live: Float64Array, from: number, to: number, bytes: number, budget: number): boolean {
  for (let moment = from; moment <= to; moment++) if ((live[moment] ?? 0) + bytes > budget) return false
  return true
}

function occupy(live: Float64Array, from: number, to: number, bytes: number): void {
  for (let moment = from; moment <= to; moment++) live[moment] = (live[moment] ?? 0) + bytes
}
