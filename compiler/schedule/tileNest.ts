// A multiply-add nest as the schedule of tiles sees it: its loops, and how its operands lie.

import type { Index } from '../kernel/index.ts'
import type { LoopPart } from '../kernel/trimming.ts'
import type { Neighbours } from './byLane.ts'

/** An element of memory: its place in the loops of the nest, and its bytes. */
export interface TileMemory {
  readonly buffer: string
  readonly indices: readonly Index[]
  readonly bytes: number
  /** Bytes of everything that is read in turn. */
  readonly total: number
}

export interface TileNest {
  readonly accumulator: string
  /** Vector direction, its bound, and the operand of the multiply-add that varies along it. */
  readonly n: string
  readonly nBound: number
  readonly vectorOperand: 0 | 1
  /** Broadcast direction and its bound. */
  readonly m: string
  readonly mBound: number
  /** Loops of the chain, outermost first, their bounds, and the product of these. */
  readonly k: readonly string[]
  readonly kBounds: readonly number[]
  readonly kBound: number
  /** Loops between the vector direction's blocks and `m`. */
  readonly between: readonly string[]
  /** The chain's innermost loop is contiguous in the vector operand, so packing transposes. */
  readonly transposes: boolean
  /** The vector operand is loaded by vectors where it lies, and nothing bounds its direction but a constant. */
  readonly readable: boolean
  /** The broadcast operand is worked out while it is copied; `contiguous` when its copy may go by vectors. */
  readonly packBroadcast: 'no' | 'yes' | 'contiguous'
  /** The vector operand's element, where it is a plain load of memory whose size is known. */
  readonly memory?: TileMemory
  /** The same of the operand that is broadcast, where it lies along the chain. */
  readonly broadcastMemory?: TileMemory
  /** Where the multiply-add reads it: in its copy, if it has one. */
  readonly neighbours: Neighbours
  /** The chain walks the rows of a tensor that is not in memory as a whole: at most so many steps at a time. */
  readonly phaseSteps?: number
  /** The result goes to a tensor that is not in memory as a whole: at most so many rows of `m` at a time. */
  readonly shardRows?: number
  /** Steps of the chain that can matter to `rows` rows from `first` on: the others add a zero. Of one chained loop. */
  readonly live?: (first: Index, rows: number) => LoopPart
  /**
   * The vector direction's blocks go to threads; pieces of `m` join them when that leaves too few, and stand around them where
   * the rows of the result come by ranges.
   */
  readonly grid: { readonly others: number } | undefined
}

const broadcastLies: Readonly<Record<Neighbours, string>> = { k: '', m: ' of columns', none: ' apart' }

/**
 * A nest as a search knows it: equal names have equal loops and operands that lie alike. Where the result goes makes no other one:
 * for ranges of its rows a choice is cut shorter.
 */
export function tileName(nest: TileNest): string {
  const { mBound, nBound, kBound, transposes, packBroadcast, grid, memory, neighbours } = nest
  const shape = `${mBound}x${nBound}x${kBound}${grid && grid.others > 1 ? ` of ${grid.others}` : ''}`
  const vector = `${transposes ? 'across' : 'along'}${memory ? ` ${memory.bytes}` : ''}`
  const copied = { no: broadcastLies[neighbours], yes: ' computed', contiguous: ' widened' }
  return `${shape} ${vector}${copied[packBroadcast]}`
}
