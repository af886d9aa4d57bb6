// When each range of a tensor comes into the arena, how long it stays, and when it goes back: read as late as hides the reading
// behind computing, kept for as long as saves reading it again, written behind what computes next, and never beyond the memory
// there is. Arithmetic on a timeline; knows neither kernels nor files.

import { asLate, LiveBytes, ReadAhead, WriteBehind } from './ahead.ts'
import type { Memory } from './ahead.ts'
import { keepOrder, keptRanges } from './drafts.ts'
import type { Draft } from './drafts.ts'
import { simulate } from './moments.ts'
import type { Timeline, TransferPlan } from './moments.ts'

/** Memory for ranges that have the lives which they must have. */
export type MemoryFor = (drafts: readonly Draft[]) => Memory

/**
 * Plans all transfers. Where a moment alone needs more than the budget it gets that, and whoever asked has to look. `memoryFor`
 * says where ranges may be longer than they must: with whatever else is alive below the budget unless given.
 */
export function planTransfers(timeline: Timeline, memoryFor?: MemoryFor): TransferPlan {
  const live = Float64Array.from(timeline.live)
  const drafts = keptRanges(timeline, live)
  keepOrder(drafts)
  const memory = memoryFor?.(drafts) ?? new LiveBytes(live, timeline.budget)
  const read = new ReadAhead(drafts, timeline, memory)
  const write = new WriteBehind(drafts, timeline, memory)
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
