// When each range of a tensor comes into the arena, how long it stays, and when it goes back: read as late as hides the reading
// behind computing, kept for as long as saves reading it again, written behind what computes next, and never beyond the memory
// there is. Arithmetic on a timeline; knows neither kernels nor files.

import { asLate, ReadAhead, WriteBehind } from './ahead.ts'
import { keepOrder, keptRanges } from './drafts.ts'
import type { Draft } from './drafts.ts'
import { simulate } from './moments.ts'
import type { Timeline, TransferPlan } from './moments.ts'

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
