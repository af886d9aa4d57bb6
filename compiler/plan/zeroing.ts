// Sums that a function sets to zero before it adds to them: those that are in storage need not be written there as zeros and read
// again, where what adds first covers all of them. Decides which launches that saves; knows no arena.

import type { ScheduledFunction } from '../schedule/schedule.ts'
import { tensorKey } from './storage.ts'
import type { StorageLaunch, StoragePlanner } from './storage.ts'

/**
 * Leaves out kernels that only set stored sums to zero, and says of the next ones which tensors count as zero before them. A kernel
 * stays where one of its sums is in memory, or where what comes next changes only a part of one, or named rows.
 */
export function withoutZeroing(
  { zeroing }: Pick<ScheduledFunction, 'zeroing'>,
  launches: readonly StorageLaunch[],
  planner: StoragePlanner,
): readonly StorageLaunch[] {
  if (!zeroing) return launches
  const left = new Set<StorageLaunch>(launches)
  const zeroed = new Map<StorageLaunch, Set<string>>()
  launches.forEach((launch, place) => {
    const { region, streamed } = launch
    if (!zeroing.has(region) || streamed.length < region.kernel.arguments.length) return
    const next = streamed.map(({ tensor }) => changesAllOf(tensorKey(tensor), launches.slice(place + 1), planner))
    if (!next.every((one) => one !== undefined)) return
    left.delete(launch)
    streamed.forEach(({ tensor }, index) => {
      const adding = next[index] as StorageLaunch
      zeroed.set(adding, (zeroed.get(adding) ?? new Set()).add(tensorKey(tensor)))
    })
  })
  return launches
    .filter((launch) => left.has(launch))
    .map((launch) => ({ ...launch, zeroed: zeroed.get(launch) ?? none }))
}

const none: ReadonlySet<string> = new Set()

/** The next launch that has a tensor, where it writes every byte of it in ranges that share none. */
function changesAllOf(
  key: string,
  following: readonly StorageLaunch[],
  planner: StoragePlanner,
): StorageLaunch | undefined {
  const has = ({ streamed, named }: StorageLaunch): boolean =>
    [...streamed, ...named].some(({ tensor }) => tensorKey(tensor) === key)
  const next = following.find(has)
  if (!next || next.named.some(({ tensor }) => tensorKey(tensor) === key)) return undefined
  const argument = next.streamed.filter(({ tensor }) => tensorKey(tensor) === key)
  const [only] = argument
  if (!only || argument.length > 1) return undefined
  const [cut] = planner.cut([next])
  const uses = (cut?.parts ?? []).flatMap((part) => part.uses.filter((use) => use.argument === only.argument))
  const bytes = uses.reduce((sum, use) => sum + use.bytes, 0)
  const isOnce = new Set(uses.map(({ from }) => from)).size === uses.length
  return isOnce && bytes === only.bytes && uses.every(({ isWritten }) => isWritten) ? next : undefined
}
