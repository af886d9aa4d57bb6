// What `heddle plan` says of checkpoints: how many layers keep everything, what is computed again of the others, what that
// costs beside the least that it could.

import { formatPlace } from '../compiler/diagnostic.ts'
import type { Provenance } from '../compiler/graph/node.ts'
import type { CheckpointReport, JointReport } from '../compiler/pipeline.ts'
import type { CompiledRecipe } from '../train/compileRecipe.ts'
import { mebibytes, shownPlace } from './output.ts'
import { timeText } from './planView.ts'

/** Groups of layers that are told apart; the rest is summed up. */
const MOST_GROUPS = 3
/** Names of values in a group. */
const MOST_NAMES = 5

const percent = (share: number): string => `${(100 * share).toFixed(share < 0.1 ? 2 : 1)} %`

export function checkpointLines(
  { checkpoints, checkpointing, joint, arenas, certificate }: Pick<CompiledRecipe, 'checkpoints' | 'checkpointing' | 'joint' | 'arenas' | 'certificate'>, // prettier-ignore
  provenance: Provenance,
): string[] {
  const together = joint ? [jointText(joint)] : []
  if (checkpoints === 'none') return ['every value is kept for the backward pass', ...together]
  if (!checkpointing) return ['all layers are computed again for the backward pass']
  const { recomputed, rounds, leastPeak } = checkpointing
  const again = groupsOf(checkpointing, provenance)
  const count = again.reduce((sum, { layers }) => sum + layers, 0)
  const total = checkpointing.layers.length
  const told = again.slice(0, MOST_GROUPS).map(({ layers, names }) => `${names} in ${layersText(layers)}`)
  if (again.length > MOST_GROUPS) told.push(`other values in ${layersText(again.slice(MOST_GROUPS).reduce((sum, { layers }) => sum + layers, 0))}`) // prettier-ignore
  const last = rounds.at(-1)
  // Where nothing fits, the plan is the smallest there is: how much less another one of that size may compute is no matter.
  const why = certificate.fits ? leastText(checkpointing) : ', for the least memory'
  const optimal = joint?.isTaken ? ', so that more weights stay' : why
  const lines = [
    `keeps ${total - count} of ${total} layers whole${count === 0 ? '' : `; computes again ${told.join('; ')}`}`,
    `recomputation: +${percent(recomputed)} multiply-adds${optimal}; intermediate values ${mebibytes(last?.real ?? 0)} MiB, predicted ${mebibytes(last?.predicted ?? 0)} MiB`,
    ...together,
  ]
  if (certificate.fits) return lines
  const largest = largestAtPeak(arenas.find(({ fn }) => fn === 'accumulate')?.buffers ?? [])
  return [
    ...lines,
    `no plan of checkpoints has intermediate values below about ${mebibytes(leastPeak)} MiB${largest ? `; the largest of them there is ${largest.label}${whereText(largest)} with ${mebibytes(largest.bytes)} MiB` : ''}`,
  ]
}

/** How much less another choice may compute again, where that was asked. */
function leastText({ recomputed, seconds, lowerBound, gap }: CheckpointReport): string {
  if (lowerBound === undefined || gap === undefined) return ''
  const least = seconds === 0 ? 0 : (recomputed * lowerBound) / seconds
  return ` (optimal ${gap === 0 ? '' : 'at least '}+${percent(least)})`
}

/**
 * What a micro-batch is predicted to take by the timetable; and apart from that, since the two count differently, what the plan
 * that was made together takes by the model that chose it, beside what any choice does.
 */
export function jointText({
  isTaken,
  predictedSeconds,
  sequentialSeconds,
  seconds,
  lowerBound,
  gap,
  shardBytes,
}: JointReport): string {
  const way = isTaken
    ? `planned together in ranges of ${mebibytes(shardBytes)} MiB, ${timeText(sequentialSeconds)} one after the other`
    : 'planned one after the other, which together is no better'
  const counted = `counts ${timeText(seconds)} for ${isTaken ? 'it' : 'those together'}`
  return `recomputation and weights that stay: a micro-batch of ${timeText(predictedSeconds)}, ${way}; the model that chooses, which knows no order of reads, ${counted}, at most ${percent(gap)} from its optimum, ${timeText(lowerBound)} at least`
}

function whereText({ place }: Buffer): string {
  const shown = shownPlace(place)
  return shown ? ` (${formatPlace(shown)})` : ''
}

function layersText(count: number): string {
  return count === 1 ? '1 layer' : `${count} layers`
}

interface Group {
  readonly layers: number
  /** What is computed again of each. */
  readonly names: string
}

/** Layers by what is computed again of them; elementwise work alone does not count. */
function groupsOf({ layers }: CheckpointReport, provenance: Provenance): Group[] {
  const groups = new Map<string, number>()
  for (const { again, multiplyAdds } of layers) {
    if (multiplyAdds === 0) continue
    const names = [...new Set(again.flatMap((node) => provenance.name(node) ?? []))]
    const shown = names.slice(0, MOST_NAMES).join(', ')
    const rest = names.length > MOST_NAMES ? ' and more' : ''
    const key = names.length === 0 ? 'values without a name' : `${shown}${rest}`
    groups.set(key, (groups.get(key) ?? 0) + 1)
  }
  return [...groups].map(([names, count]) => ({ layers: count, names })).sort((a, b) => b.layers - a.layers)
}

type Buffer = CompiledRecipe['arenas'][number]['buffers'][number]

/** The largest buffer of those that live when most bytes do. */
function largestAtPeak(buffers: readonly Buffer[]): Buffer | undefined {
  const liveAt = (launch: number): readonly Buffer[] =>
    buffers.filter(({ first, last }) => first <= launch && launch <= last)
  const sum = (live: readonly Buffer[]): number => live.reduce((bytes, buffer) => bytes + buffer.bytes, 0)
  let most: readonly Buffer[] = []
  // Sums only grow where a buffer is born.
  for (const launch of new Set(buffers.map(({ first }) => first))) {
    const live = liveAt(launch)
    if (sum(live) > sum(most)) most = live
  }
  return most.toSorted((a, b) => b.bytes - a.bytes)[0]
}
