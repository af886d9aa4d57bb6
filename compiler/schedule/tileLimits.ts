// What a tile may take: registers, scratch, and no more loops than the nest has. A choice may come from a file, so this is
// asked before any is used.

import { fitsByLane } from './byLane.ts'
import type { ScheduleProfile, TileChoice, TileShape } from './profile.ts'
import type { TileNest } from './tileNest.ts'

const floatBytes = 4

/** Accumulators of a shape, and the registers with a step's vectors and one broadcast value. */
function registersOf({ rows, vectors }: TileShape): { readonly accumulators: number; readonly all: number } {
  return { accumulators: rows * vectors, all: rows * vectors + vectors + 1 }
}

/** Whether a shape's registers are no more than those of the device's own shapes. */
export function fitsRegisters(shape: TileShape, nest: TileNest, profile: ScheduleProfile): boolean {
  const byLane = fitsByLane(shape, nest, profile)
  if (byLane !== undefined) return byLane
  const own = [profile.tile, ...(profile.otherTiles ?? [])].map(registersOf)
  const { accumulators, all } = registersOf(shape)
  return own.some((known) => accumulators <= known.accumulators) && own.some((known) => all <= known.all)
}

/** Bytes of scratch that a choice needs in every thread. */
export interface TileScratch {
  /** A packed block. */
  readonly packed: number
  /** Accumulators that wait while a chain is worked through in pieces. */
  readonly waiting: number
  /** A tile's rows of the broadcast operand, where it is copied. */
  readonly rows: number
}

export function tileScratch(choice: TileChoice, nest: TileNest, { lanes }: ScheduleProfile): TileScratch {
  const { rows, vectors, panels, pieces } = choice
  const steps = Math.min(choice.steps, nest.kBound)
  const columns = panels * vectors * lanes
  const piece = nest.grid ? Math.ceil(nest.mBound / pieces) : nest.mBound
  return {
    packed: floatBytes * columns * steps,
    waiting: steps < nest.kBound ? floatBytes * columns * (piece + rows) : 0,
    rows: nest.packBroadcast === 'no' ? 0 : floatBytes * rows * steps,
  }
}

/** Whether a choice can be carried out on the device without spilling registers or taking more memory than a rule might. */
export function fitsTile(choice: TileChoice, nest: TileNest, profile: ScheduleProfile): boolean {
  const { rows, vectors, panels, steps, pieces } = choice
  const vectorsOfRow = Math.ceil(nest.nBound / profile.lanes)
  const isWhole = [rows, vectors, panels, steps, pieces].every((value) => Number.isSafeInteger(value) && value >= 1)
  if (!isWhole || rows > nest.mBound || vectors > vectorsOfRow) return false
  if (panels > Math.ceil(vectorsOfRow / vectors) || steps > nest.kBound || pieces > nest.mBound) return false
  const scratch = tileScratch(choice, nest, profile)
  const fitsCache = scratch.packed <= profile.privateCache && scratch.rows <= profile.privateCache
  return fitsCache && scratch.waiting <= 2 * profile.privateCache && fitsRegisters(choice, nest, profile)
}
