// The schedule of one multiply-add nest: a register tile of `rows` × `vectors` vectors, the vector operand packed into
// panels, the broadcast operand read in place where it lies well. The same for a whole contraction and for the small
// ones inside a streamed kernel.

import type { Directive } from '../kernel/directives.ts'
import { laneDirectives, laneTile, vectorsBeside } from './byLane.ts'
import type { Neighbours } from './byLane.ts'
import type { ScheduleProfile } from './profile.ts'

export interface TileNest {
  readonly accumulator: string
  /** Vector direction, its bound, and the operand of the multiply-add that varies along it. */
  readonly n: string
  readonly nBound: number
  readonly vectorOperand: 0 | 1
  /** Broadcast direction and its bound. */
  readonly m: string
  readonly mBound: number
  /** Loops of the chain, outermost first, and the product of their bounds. */
  readonly k: readonly string[]
  readonly kBound: number
  /** The bound of the innermost one. */
  readonly kInner: number
  /** Loops between the vector direction's blocks and `m`. */
  readonly between: readonly string[]
  /** The chain's innermost loop is contiguous in the vector operand, so packing transposes. */
  readonly transposes: boolean
  /** The vector operand is loaded by vectors where it lies, and nothing bounds its direction but a constant. */
  readonly readable: boolean
  /** The broadcast operand is worked out while it is copied; `contiguous` when its copy may go by vectors. */
  readonly packBroadcast: 'no' | 'yes' | 'contiguous'
  /** Where the multiply-add reads it: in its copy, if it has one. */
  readonly neighbours: Neighbours
  /** The vector direction's blocks go to threads; pieces of `m` join them when that leaves too few. */
  readonly grid: { readonly others: number } | undefined
}

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to

/** Names that `tileDirectives` makes from a loop `n`: blocks, panels; and from `m`: pieces for threads, tiles. */
export const blockOf = (n: string): string => `${n}b`

export function tileDirectives(nest: TileNest, profile: ScheduleProfile): Directive[] {
  const { n, m, k, accumulator } = nest
  const { lanes } = profile
  const tile = laneTile(nest, profile) ?? profile.tile
  const streamed = streamedVectors(nest, profile)
  const panel = streamed === undefined ? Math.min(tile.vectors * lanes, roundUp(nest.nBound, lanes)) : streamed * lanes
  const spare = Math.floor((tile.vectors * lanes) / panel)
  const rows = streamed === undefined ? Math.min(nest.mBound, tile.rows * spare) : nest.mBound
  const panelsThatFit = Math.max(1, Math.floor(profile.privateCache / 2 / (4 * nest.kBound * panel)))
  // Blocks of equally many panels: what a block has beyond the last column is worked out for nothing.
  const needed = Math.ceil(nest.nBound / panel)
  const panels = streamed === undefined ? Math.ceil(needed / Math.ceil(needed / Math.min(4, panelsThatFit))) : 1
  const block = nest.grid ? panel * panels : roundUp(nest.nBound, panel)
  const items = nest.grid ? Math.ceil(nest.nBound / block) * nest.grid.others : 0
  const wanted = 4 * profile.threads
  const mPieces = nest.grid && items < wanted && profile.threads > 1 ? Math.ceil(wanted / items) : 1
  const piece = roundUp(Math.ceil(nest.mBound / mPieces), rows)
  const cutM = nest.grid !== undefined && piece < nest.mBound

  const [n0, n1, n2, n3] = [blockOf(n), `${n}i`, `${n}p`, `${n}q`]
  const [mb, mi, m0, m1] = [`${m}b`, `${m}i`, `${m}t`, `${m}r`]
  const [n4, lane] = [`${n}v`, `${n}l`]
  const inner = cutM ? mi : m
  const broadcastOperand = nest.vectorOperand === 1 ? 0 : 1
  const innermost = k.at(-1)
  return [
    { do: 'split', loop: n, factor: block, outer: n0, inner: n1 },
    { do: 'split', loop: n1, factor: panel, outer: n2, inner: n3 },
    ...(cutM ? [{ do: 'split', loop: m, factor: piece, outer: mb, inner: mi } as const] : []),
    { do: 'split', loop: inner, factor: rows, outer: m0, inner: m1 },
    {
      do: 'reorder',
      loops: [n0, ...(cutM ? [mb] : []), ...nest.between, m0, n2, m1, n3],
    },
    ...(nest.grid ? [{ do: 'bind', loop: n0, binding: 'grid' } as const] : []),
    ...(cutM ? [{ do: 'bind', loop: mb, binding: 'grid' } as const] : []),
    ...(streamed === undefined
      ? [
          {
            do: 'stage',
            into: `${accumulator}_b`,
            operand: nest.vectorOperand,
            accumulator,
            at: cutM ? mb : n0,
            order: [n2, ...k, n3],
            fast: nest.transposes ? (k.at(-1) ?? n3) : n3,
            lanes,
          } as const,
        ]
      : []),
    ...(nest.packBroadcast === 'no'
      ? []
      : [
          {
            do: 'stage',
            into: `${accumulator}_a`,
            operand: broadcastOperand,
            accumulator,
            at: m0,
            order: [m1, ...k],
            fast: k.at(-1) ?? m1,
            lanes: nest.packBroadcast === 'contiguous' ? lanes : 1,
          } as const,
        ]),
    { do: 'distribute', loop: n3 },
    { do: 'distribute', loop: m1 },
    { do: 'unguard', buffer: accumulator },
    { do: 'reorder', loops: [...k, m1, n3] },
    ...(innermost === undefined
      ? []
      : laneDirectives({ accumulator, operand: broadcastOperand, k: innermost, rows: m1, count: rows }, nest, profile)),
    { do: 'split', loop: n3, factor: lanes, outer: n4, inner: lane },
    { do: 'bind', loop: lane, binding: 'lane' },
    { do: 'bind', loop: n4, binding: 'unroll' },
    { do: 'bind', loop: m1, binding: 'unroll' },
  ]
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
