// Which tile, blocks and pieces a multiply-add nest gets: what a search found for it, or a rule. No bit depends on it.

import { laneTile, vectorsBeside } from './byLane.ts'
import type { ScheduleProfile, TileChoice, TileShape } from './profile.ts'
import { fitsTile } from './tileLimits.ts'
import { tileName } from './tileNest.ts'
import type { TileNest } from './tileNest.ts'

/** The least multiple of `to` that is no less. */
export const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to

export interface ChosenTile extends TileChoice {
  /** Whether the vector operand is copied into panels first; a search has no say where it is not. */
  readonly packs: boolean
  readonly from: 'rule' | 'search'
}

/** What a search found, where that fits the nest and the device; otherwise what the rule says. */
export function chooseTile(nest: TileNest, profile: ScheduleProfile): ChosenTile {
  const vectors = streamedVectors(nest, profile)
  if (vectors !== undefined) return { ...wholeRows(nest, vectors, profile), packs: false, from: 'rule' }
  const found = profile.choices?.[tileName(nest)]
  if (found && fitsTile(found, nest, profile)) return { ...found, packs: true, from: 'search' }
  return { ...ruledTile(nest, profile), packs: true, from: 'rule' }
}

/** Of the shapes that fit the registers, the one that computes least beyond the edges; the first of equals. */
function shapeOf({ mBound, nBound }: TileNest, { lanes, tile, otherTiles = [] }: ScheduleProfile): TileShape {
  const narrowed = ({ rows, vectors }: TileShape): TileShape => {
    const needed = Math.min(vectors, Math.ceil(nBound / lanes))
    return { rows: Math.min(mBound, rows * Math.floor(vectors / needed)), vectors: needed }
  }
  const executed = ({ rows, vectors }: TileShape): number => roundUp(mBound, rows) * roundUp(nBound, vectors * lanes)
  return otherTiles
    .map(narrowed)
    .reduce((best, shape) => (executed(shape) < executed(best) ? shape : best), narrowed(tile))
}

/** Columns of a packed block at most: what is broadcast is read once for each block. */
const widestBlock = 256
const mostWaitingRows = 512

/** A choice by rule: a packed block, the one behind it and what is broadcast share the private cache. */
export function ruledTile(nest: TileNest, profile: ScheduleProfile): TileChoice {
  const { lanes, privateCache, threads } = profile
  const shape = laneTile(nest, profile) ?? shapeOf(nest, profile)
  const panel = shape.vectors * lanes
  const steps = stepsOf(nest.kBound, Math.floor(privateCache / 20 / (4 * panel)), lanes)
  const panelsThatFit = Math.max(1, Math.floor(privateCache / 4 / (4 * steps * panel)))
  const needed = Math.ceil(nest.nBound / panel)
  // Blocks of equally many panels: what a block has beyond the last column is worked out for nothing.
  const wanted = nest.grid && threads > 1 ? 2 * threads : 1
  const others = nest.grid?.others ?? 1
  const most = Math.max(4, Math.floor(widestBlock / panel))
  const blocks = Math.max(
    Math.ceil(needed / Math.min(most, panelsThatFit)),
    Math.min(needed, Math.ceil(wanted / others)),
  )
  const panels = blockPanels(needed, Math.ceil(needed / blocks))
  const items = Math.ceil(needed / panels) * others
  // What waits between pieces of chains takes room for each row.
  const bands = steps < nest.kBound ? Math.ceil(nest.mBound / mostWaitingRows) : 1
  // Every piece packs its block anew, so that rows are cut only where threads would be idle otherwise.
  const pieces = items < wanted ? Math.ceil(wanted / items) : 1
  return { ...shape, panels, steps, pieces: Math.max(pieces, bands) }
}

/** Panels of a block: about `most`, such that blocks are equal where more than half of it allows that. */
function blockPanels(needed: number, most: number): number {
  for (let panels = most; panels > most / 2; panels--) if (needed % panels === 0) return panels
  return Math.ceil(needed / Math.ceil(needed / most))
}

/** Steps of a piece of a chain: about `wanted`, such that pieces are equal where whole vectors allow it. */
function stepsOf(kBound: number, wanted: number, lanes: number): number {
  const least = Math.ceil(kBound / Math.max(lanes, wanted * 1.25))
  if (least <= 1) return kBound
  for (let pieces = least; pieces < 2 * least; pieces++) {
    if (kBound % pieces === 0 && (kBound / pieces) % lanes === 0) return kBound / pieces
  }
  return roundUp(Math.ceil(kBound / least), lanes)
}

function wholeRows({ mBound, nBound, kBound, grid }: TileNest, vectors: number, profile: ScheduleProfile): TileChoice {
  const items = Math.ceil(nBound / (vectors * profile.lanes)) * (grid?.others ?? 1)
  const wanted = profile.threads > 1 ? 4 * profile.threads : 1
  return { rows: mBound, vectors, panels: 1, steps: kBound, pieces: items < wanted ? Math.ceil(wanted / items) : 1 }
}

/** Vectors of a row that are read together at most: enough chains to hide the latency of a multiply-add. */
const mostStreamed = 8

/**
 * A few rows, one token's say, read the vector operand once: copying it would only cost. How many vectors of it they take
 * side by side; undefined where a copy pays, or the operand cannot be read where it lies.
 */
function streamedVectors(nest: TileNest, profile: ScheduleProfile): number | undefined {
  const { lanes, tile } = profile
  if (!nest.readable || !nest.grid || nest.mBound > tile.rows) return undefined
  for (let vectors = Math.min(mostStreamed, vectorsBeside(nest.mBound, nest, profile)); vectors > 0; vectors--) {
    if (nest.nBound % (vectors * lanes) === 0) return vectors
  }
  return undefined
}
