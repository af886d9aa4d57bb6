// Where a multiply-add takes its broadcast value from one lane of a vector: how the broadcast operand has to lie for that,
// the register tile that then needs the fewest instructions, and the directives of it. Knows no instruction.

import type { Directive } from '../kernel/directives.ts'
import { strideOf } from '../kernel/index.ts'
import type { Expr } from '../kernel/ir.ts'
import type { TileShape, ScheduleProfile } from './profile.ts'
import type { KernelScope } from './scope.ts'

/** Along which loop the broadcast operand has neighbours in memory: the chain's innermost one, the tile's rows, or neither. */
export type Neighbours = 'k' | 'm' | 'none'

export interface NamedLoop {
  readonly name: string
  readonly bound: number
}

/** Read off the operand's load. */
export function neighboursOf(operand: Expr, scope: KernelScope, k: NamedLoop | undefined, m: NamedLoop): Neighbours {
  if (operand.kind !== 'load' || operand.type !== 'f32' || !k) return 'none'
  const { arguments: given, locals } = scope.kernel('', [])
  const last = [...given, ...locals].find(({ name }) => name === operand.buffer)?.dims.at(-1)
  if (last?.stride !== 1) return 'none'
  const isAlong = ({ name }: NamedLoop): boolean =>
    operand.indices.every((index, place) => {
      return strideOf(index, name) === (place === operand.indices.length - 1 ? 1 : 0)
    })
  return isAlong(k) ? 'k' : isAlong(m) ? 'm' : 'none'
}

/** A multiply-add nest as far as this is concerned with it. */
interface LaneNest {
  readonly nBound: number
  readonly mBound: number
  readonly neighbours: Neighbours
  /** Bounds of the chain's loops, outermost first. */
  readonly kBounds: readonly number[]
}

/** Whether the nest can take its broadcast values by lanes. */
export function takesLanes({ neighbours, kBounds, mBound }: LaneNest, { lanes, tile }: ScheduleProfile): boolean {
  return (
    tile.laneRegisters !== undefined &&
    neighbours !== 'none' &&
    (neighbours === 'k' ? (kBounds.at(-1) ?? 1) : mBound) >= lanes
  )
}

/** Registers that a tile takes: accumulators, a vector of each row (or of several rows), and the vectors of one step. */
function registersOf(rows: number, vectors: number, rowsInVector: number): number {
  return rows * vectors + Math.ceil(rows / rowsInVector) + vectors
}

/**
 * The tile that needs the fewest instructions over the whole nest, what it computes beyond the edges included: multiply-adds,
 * one load for each `lanes` broadcast values, and the vectors. One with few accumulators waits for them instead. Undefined
 * where lanes cannot be taken.
 */
export function laneTile(nest: LaneNest, profile: ScheduleProfile): TileShape | undefined {
  const { lanes, tile } = profile
  const { laneRegisters: registers } = tile
  if (registers === undefined || !takesLanes(nest, profile)) return undefined
  const step = nest.neighbours === 'm' ? lanes : 1
  let best: { readonly rows: number; readonly vectors: number; readonly cost: number } | undefined
  for (let vectors = 1; vectors <= Math.ceil(nest.nBound / lanes); vectors++) {
    for (let rows = step; rows <= nest.mBound && registersOf(rows, vectors, step) <= registers; rows += step) {
      const tiles = Math.ceil(nest.mBound / rows) * Math.ceil(nest.nBound / (vectors * lanes))
      const cost = tiles * Math.max(rows * vectors + rows / lanes + vectors, registers / 2)
      if (!best || cost <= best.cost) best = { rows, vectors, cost }
    }
  }
  return best && { rows: best.rows, vectors: best.vectors }
}

/** Whether a tile's registers are enough; undefined where such a tile takes no lanes. */
export function fitsByLane(
  { rows, vectors }: TileShape,
  nest: LaneNest,
  profile: ScheduleProfile,
): boolean | undefined {
  const { lanes, tile } = profile
  const step = nest.neighbours === 'm' ? lanes : 1
  if (tile.laneRegisters === undefined || !takesLanes(nest, profile) || rows % step !== 0) return undefined
  return registersOf(rows, vectors, step) <= tile.laneRegisters
}

/** Most vectors that fit beside a number of rows. */
export function vectorsBeside(rows: number, nest: LaneNest, profile: ScheduleProfile): number {
  const { tile, lanes } = profile
  const plain = Math.floor((tile.rows * tile.vectors) / rows)
  if (tile.laneRegisters === undefined || !takesLanes(nest, profile)) return plain
  let vectors = plain
  while (vectors > 1 && registersOf(rows, vectors, nest.neighbours === 'm' ? lanes : 1) > tile.laneRegisters) vectors--
  return vectors
}

export interface LaneLoops {
  readonly accumulator: string
  readonly operand: 0 | 1
  /** The chain's innermost loop, with the tile's loops inside. */
  readonly k: string
  /** The tile's rows, and how many they are. */
  readonly rows: string
  readonly count: number
}

/**
 * `lanes` steps of the chain at once, straight after one another. Along the chain one load then serves all of them; along
 * the rows each step has loads of its own.
 */
export function laneDirectives(
  { accumulator, operand, k, rows, count }: LaneLoops,
  nest: LaneNest,
  profile: ScheduleProfile,
): Directive[] {
  const { lanes } = profile
  if (!takesLanes(nest, profile) || (nest.neighbours === 'm' && count % lanes !== 0)) return []
  const [outer, inner, rest] = [`${k}o`, `${k}s`, `${k}r`]
  const group = { do: 'peel', loop: k, factor: lanes, outer, inner, rest } as const
  const into = `${accumulator}_h`
  const held = { do: 'hold', into, operand, accumulator, lanes } as const
  return [
    ...(nest.neighbours === 'k'
      ? [group, { ...held, at: outer, order: [rows, inner] }]
      : [{ ...held, at: k, order: [rows] }, group]),
    { do: 'bind', loop: inner, binding: 'unroll' },
  ]
}
