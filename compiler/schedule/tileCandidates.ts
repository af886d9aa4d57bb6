// Choices that a search may try for one multiply-add nest: the rule's first, then what differs from it in one respect, then
// in more. All fit the device, none comes twice. Measures nothing.

import { takesLanes } from './byLane.ts'
import type { ScheduleProfile, TileChoice, TileShape } from './profile.ts'
import { ruledTile } from './tileChoice.ts'
import { fitsRegisters, fitsTile, tileScratch } from './tileLimits.ts'
import type { TileNest } from './tileNest.ts'

/** Beyond the rule's, which are none of these. */
const mostShapes = 4
const widestTile = 8
const chainPieces = [256, 512, 128, 768, 1024]
const panelCounts = [4, 8, 2, 16, 1]

/** At most `most` choices; the first is what the rule says. */
export function tileCandidates(nest: TileNest, profile: ScheduleProfile, most: number): TileChoice[] {
  const rule = ruledTile(nest, profile)
  const shapes = [{ rows: rule.rows, vectors: rule.vectors }, ...otherShapes(rule, nest, profile)]
  const columns = rule.panels * rule.vectors
  const found: { readonly choice: TileChoice; readonly changes: number; readonly steps: number }[] = []
  for (const [byShape, shape] of shapes.entries()) {
    const needed = Math.ceil(nest.nBound / (shape.vectors * profile.lanes))
    // As wide a block as the rule's, in panels of this shape.
    const alike = Math.max(1, Math.min(needed, Math.round(columns / shape.vectors)))
    for (const [byPanels, panels] of distinct([alike, ...panelCounts, needed]).entries()) {
      for (const [bySteps, steps] of distinct([rule.steps, ...chainLengths(nest, profile)]).entries()) {
        for (const [byPieces, pieces] of distinct([rule.pieces, ...pieceCounts(nest, profile)]).entries()) {
          const places = [byShape, byPanels, bySteps, byPieces]
          const changes = places.filter((place) => place > 0).length
          const choice = { ...shape, panels, steps, pieces }
          if (changes > 0 && !isWorthwhile(choice, nest, profile)) continue
          found.push({ choice, changes, steps: places.reduce((sum, place) => sum + place, 0) })
        }
      }
    }
  }
  found.sort((a, b) => a.changes - b.changes || a.steps - b.steps)
  return found.slice(0, most).map(({ choice }) => choice)
}

/** A choice that fits, and leaves half of the cache to what is read beside its packed block and waits. */
function isWorthwhile(choice: TileChoice, nest: TileNest, profile: ScheduleProfile): boolean {
  if (!fitsTile(choice, nest, profile)) return false
  const { packed, waiting } = tileScratch(choice, nest, profile)
  return packed <= profile.privateCache / 2 && waiting <= profile.privateCache
}

function distinct(values: readonly number[]): number[] {
  return [...new Set(values)]
}

/** The best by what they compute beyond the edges and load for it. */
function otherShapes(rule: TileShape, nest: TileNest, profile: ScheduleProfile): TileShape[] {
  const { mBound, nBound } = nest
  const { lanes } = profile
  const shapes = new Map<string, TileShape & { readonly cost: number }>()
  const least = (profile.tile.rows * profile.tile.vectors) / 2
  for (let vectors = 1; vectors <= Math.min(widestTile, Math.ceil(nBound / lanes)); vectors++) {
    let tallest = 0
    while (tallest < mBound && fitsRegisters({ rows: tallest + 1, vectors }, nest, profile)) tallest++
    const even = Math.ceil(mBound / Math.ceil(mBound / Math.max(1, tallest)))
    for (const rows of [tallest, even, tallest - (tallest % lanes)]) {
      const shape = { rows, vectors }
      if (rows < 1 || (rows === rule.rows && vectors === rule.vectors) || !fitsRegisters(shape, nest, profile)) continue
      const loads = vectors + (takesLanes(nest, profile) ? rows / lanes : rows)
      const tiles = Math.ceil(mBound / rows) * Math.ceil(nBound / (vectors * lanes))
      // Two loads start in the time of two multiply-adds; few accumulators wait for one another.
      const cost = tiles * Math.max(rows * vectors + loads / 2, least)
      shapes.set(`${rows}x${vectors}`, { ...shape, cost })
    }
  }
  return [...shapes.values()]
    .sort((a, b) => a.cost - b.cost)
    .slice(0, mostShapes)
    .map(({ rows, vectors }) => ({ rows, vectors }))
}

/** The whole chain, and pieces of equal length by whole vectors. */
function chainLengths({ kBound }: TileNest, { lanes }: ScheduleProfile): number[] {
  const near = (wanted: number): number => {
    for (let pieces = Math.round(kBound / wanted); pieces > 1; pieces--) {
      if (kBound % pieces === 0 && (kBound / pieces) % lanes === 0) return kBound / pieces
    }
    return kBound
  }
  return [kBound, ...chainPieces.filter((length) => length < kBound).map(near)]
}

/** Enough items for the threads, where there are several; fewer and more pieces than the rule's otherwise. */
function pieceCounts(nest: TileNest, { threads }: ScheduleProfile): number[] {
  if (!nest.grid) return []
  return [1, 2, 4, 8].map((times) => (threads > 1 ? Math.ceil(times / 2) * threads : times))
}
