// Sums that a function sets to zero before it adds to them: those that are in storage need not be written there as zeros and read
// again, where what adds first can begin them. Decides which launches that saves; knows no arena.

import { fromZero } from '../schedule/fromZero.ts'
import type { ScheduledFunction } from '../schedule/schedule.ts'
import type { LoweredRegion } from '../schedule/lowering.ts'
import { tensorKey } from './storage.ts'
import type { StorageLaunch, StoragePlanner } from './storage.ts'

/**
 * Leaves out kernels that only set stored sums to zero; the next ones begin these. A kernel stays where one of its sums is in memory,
 * or where what comes next changes only a part of one, or named rows. `begin`: `fromZero` unless given.
 */
export function withoutZeroing(
  { zeroing }: Pick<ScheduledFunction, 'zeroing'>,
  launches: readonly StorageLaunch[],
  planner: StoragePlanner,
  begin: typeof fromZero = fromZero,
): readonly StorageLaunch[] {
  if (!zeroing) return launches
  const left = new Set<StorageLaunch>(launches)
  const begun = new Map<StorageLaunch, { readonly sums: ReadonlySet<number>; readonly region: LoweredRegion }>()
  launches.forEach((launch, place) => {
    const { region, streamed } = launch
    if (!zeroing.has(region) || streamed.length < region.kernel.arguments.length) return
    const changed = new Map<StorageLaunch, { readonly sums: ReadonlySet<number>; readonly region: LoweredRegion }>()
    for (const { tensor } of streamed) {
      const next = changesAllOf(tensorKey(tensor), launches.slice(place + 1), planner)
      if (!next) return
      const sums = new Set([...((changed.get(next.launch) ?? begun.get(next.launch))?.sums ?? []), next.argument])
      const begins = begin(next.launch.region, sums)
      if (!begins) return
      changed.set(next.launch, { sums, region: begins })
    }
    left.delete(launch)
    for (const [next, begins] of changed) begun.set(next, begins)
  })
  return launches
    .filter((launch) => left.has(launch))
    .map((launch) => ({ ...launch, region: begun.get(launch)?.region ?? launch.region }))
}

/** The next launch that has a tensor, and as which argument, where it writes every byte of it in ranges that share none. */
function changesAllOf(
  key: string,
  following: readonly StorageLaunch[],
  planner: StoragePlanner,
): { readonly launch: StorageLaunch; readonly argument: number } | undefined {
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
  const isAll = isOnce && bytes === only.bytes && uses.every(({ isWritten }) => isWritten)
  return isAll ? { launch: next, argument: only.argument } : undefined
}
