// The best joint choice where few can still be it: all that no other one beats in memory and in both times are followed through the
// layers, without those that a bound rules out. Gives up where they become too many.

import { longer, timesOf } from './jointStates.ts'
import type { JointChain, JointPass, JointPicks } from './jointStates.ts'

interface Label {
  readonly total: number
  readonly resident: number
  readonly compute: number
  readonly storage: number
  readonly after: Label | undefined
  readonly pick: number
}

/** So many at once at most, and so many to choose them from. */
const MOST_LABELS = 2000
const MOST_NEXT = 200_000

/**
 * A plan that takes less than `known`, the best there is; 'none' where there is no such plan. Undefined where it was given up.
 * `passes` bound what the layers before a label take at least, each by its weight.
 */
export function bestBelow(
  chain: JointChain,
  passes: readonly JointPass[],
  known: number,
): JointPicks | 'none' | undefined {
  const { budget, middle, compute, storage, layers, beside } = chain
  let labels: readonly Label[] = [{ total: middle, resident: 0, compute, storage, after: undefined, pick: -1 }]
  for (const [layer, choices] of [...layers.entries()].reverse()) {
    const next: Label[] = []
    for (const label of labels) {
      for (const [pick, choice] of choices.entries()) {
        const total =
          choice.resident + Math.max(choice.kept + label.total, choice.need + (beside?.[layer] ?? 0) + label.resident)
        if (total > budget) continue
        const times = { compute: label.compute + choice.compute, storage: label.storage + choice.storage }
        if (passes.some((pass) => pass.cost(times) + pass.least(layer, total) >= known)) continue
        next.push({ total, resident: label.resident + choice.resident, ...times, after: label, pick })
      }
      if (next.length > MOST_NEXT) return undefined
    }
    const left = unbeaten(next)
    if (left === undefined) return undefined
    labels = left
  }
  let best: Label | undefined
  for (const label of labels) if (longer(label) < Math.min(known, best ? longer(best) : known)) best = label
  if (!best) return 'none'
  const picks: number[] = []
  for (let label = best; label.after; label = label.after) picks.push(label.pick)
  return timesOf(chain, picks)
}

function unbeaten(labels: Label[]): Label[] | undefined {
  labels.sort((a, b) => a.compute - b.compute || a.storage - b.storage || a.total - b.total || a.resident - b.resident)
  const found: Label[] = []
  for (const one of labels) {
    const isBeaten = found.some(
      ({ total, resident, storage }) => total <= one.total && storage <= one.storage && resident <= one.resident,
    )
    if (isBeaten) continue
    if (found.push(one) > MOST_LABELS) return undefined
  }
  return found
}
