// Where a step multiplies and adds: its nests by the names under which a search keeps them, with their share of the work and
// the kernels they are in. Measures nothing.

import { countKernel } from '../../../compiler/kernel/traffic.ts'
import { printKernel } from '../../../compiler/kernel/print.ts'
import type { ScheduledFunction } from '../../../compiler/schedule/schedule.ts'
import type { LoweredRegion, TileUse } from '../../../compiler/schedule/lowering.ts'
import { tileName } from '../../../compiler/schedule/tileNest.ts'
import type { TileNest } from '../../../compiler/schedule/tileNest.ts'

/** A kernel with the nest in it; layers that share it are one. */
export interface SiteKernel {
  readonly scheduled: ScheduledFunction
  readonly lowered: LoweredRegion
  /** In an optimizer step. */
  readonly launches: number
}

export interface SearchSite {
  readonly name: string
  readonly nest: TileNest
  /** Of the multiply-adds of a step. */
  readonly share: number
  /** Those that hold most of its work, which stand for all. */
  readonly kernels: readonly SiteKernel[]
}

/** Kernels are compiled once for each choice: no more of them than hold half of the work, and few. */
const ENOUGH_WORK = 0.5
const MOST_KERNELS = 2

/** Nests of less work are left to the rule. */
const LEAST_SHARE = 0.01

/** Iterations in a launch, as far as they tell the nests of one kernel apart. */
function volumeOf({ mBound, nBound, kBound, grid }: TileNest): number {
  return mBound * nBound * kBound * (grid?.others ?? 1)
}

/**
 * The nests that matter, those with most work first. `accumulate` runs so often in a step, other functions once. Nests that
 * read their operands in place have nothing to choose.
 */
export function searchSites(
  functions: readonly ScheduledFunction[],
  accumulate: number,
  leastShare = LEAST_SHARE,
): SearchSite[] {
  const kernels = distinctKernels(functions, accumulate)
  const sites = new Map<string, { nest: TileNest; work: number; kernels: (SiteKernel & { readonly work: number })[] }>()
  let all = 0
  for (const kernel of kernels) {
    const { nest, tiles } = kernel.lowered
    const work = kernel.launches * countKernel(nest).chained
    all += work
    const volume = tiles.reduce((sum, tile) => sum + volumeOf(tile.nest), 0)
    for (const [name, uses] of byName(tiles)) {
      const share = uses.reduce((sum, tile) => sum + volumeOf(tile.nest), 0) / volume
      const site = sites.get(name) ?? { nest: (uses[0] as TileUse).nest, work: 0, kernels: [] }
      site.work += share * work
      site.kernels.push({ ...kernel, work: share * work })
      sites.set(name, site)
    }
  }
  return [...sites]
    .map(([name, site]) => ({
      name,
      nest: site.nest,
      share: all === 0 ? 0 : site.work / all,
      kernels: standing(site.kernels, site.work),
    }))
    .filter(({ share }) => share >= leastShare)
    .sort((a, b) => b.share - a.share)
}

function standing(kernels: readonly (SiteKernel & { readonly work: number })[], all: number): SiteKernel[] {
  let held = 0
  const chosen: SiteKernel[] = []
  for (const { work, ...kernel } of kernels.toSorted((a, b) => b.work - a.work)) {
    if (held >= ENOUGH_WORK * all || chosen.length === MOST_KERNELS) break
    chosen.push(kernel)
    held += work
  }
  return chosen
}

function byName(tiles: readonly TileUse[]): Map<string, TileUse[]> {
  const found = new Map<string, TileUse[]>()
  for (const tile of tiles) {
    if (!tile.chosen.packs) continue
    const name = tileName(tile.nest)
    found.set(name, [...(found.get(name) ?? []), tile])
  }
  return found
}

function distinctKernels(functions: readonly ScheduledFunction[], accumulate: number): SiteKernel[] {
  const known = new Map<string, { scheduled: ScheduledFunction; lowered: LoweredRegion; launches: number }>()
  for (const scheduled of functions) {
    const times = scheduled.fn.name === 'accumulate' ? accumulate : 1
    for (const lowered of scheduled.regions) {
      if (lowered.tiles.length === 0) continue
      const text = printKernel(lowered.kernel)
      const kernel = known.get(text)
      if (kernel) kernel.launches += times
      else known.set(text, { scheduled, lowered, launches: times })
    }
  }
  return [...known.values()]
}
