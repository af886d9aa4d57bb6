// Contractions over the scores of a stream: their running sums in scratch go on, one tile of scores after another. A sum
// belongs to a row of the tile, or to a column of it where its gradient crosses the others (`crossing.ts`).

import type { Axis } from '../graph/axis.ts'
import type { Node } from '../graph/node.ts'
import type { Expr, Stmt } from '../kernel/ir.ts'
import { addIndex, constantIndex, scaleIndex } from '../kernel/index.ts'
import type { Index } from '../kernel/index.ts'
import { takesLanes } from './byLane.ts'
import { liveRange } from './live.ts'
import type { Rooms } from './live.ts'
import type { Lowering } from './lowering.ts'
import { declareLoop, load, loop, store } from './nest.ts'
import type { Construction } from './reduction.ts'
import { exprScalars } from './scalars.ts'
import type { Env } from './scope.ts'
import type { TileNest } from './tileNest.ts'
import { enter, walkRun, walksOver } from './walks.ts'

/** One side of a tile: how many places at most, how many now, and each place by its number. */
export interface Side {
  readonly bound: number
  readonly count: Index
  readonly place: (number: Index) => Index
}

export interface TileSum {
  readonly node: Node<'dot'> | Node<'softmaxDot'>
  /** What is summed with the scores, along `axis` of it. */
  readonly values: Node
  readonly axis: Axis
  readonly position: (place: Index) => Index
  /** Axes that only the values have. */
  readonly nAxes: readonly Axis[]
  /** Places that have a sum each, and places that are summed over. */
  readonly kept: Side
  readonly summed: Side
  /** Where a place that is kept lies, along its own axis. */
  readonly keptPosition: (place: Index) => Index
  /** How far places that are summed may lie beyond those that are kept and still matter, and the other way round. */
  readonly rooms: Rooms
  /** Whether scores that are summed lie beside each other, or those of the places that are kept. */
  readonly neighbours: 'k' | 'm'
  readonly score: (kept: Index, summed: Index) => Expr
  /** Where the sum is: of a place that is kept, and a column of the values. */
  readonly buffer: string
  readonly at: (kept: Index, column: Index) => Index[]
  /** What a chain goes on from. */
  readonly start: (sum: Expr, kept: Index) => Expr
  readonly env: Env
}

export interface SummedTile {
  readonly stmts: Stmt[]
  /** Chains take scores at most so far from those that matter to a place: these have to be there, as zeros. */
  readonly reach: number
}

/** sum[kept, n] = its start, and then a chain over what is summed. */
export function sumOverTile(lowering: Lowering, construction: Construction, sum: TileSum): SummedTile {
  const { scope, directives } = construction
  const { node, values, nAxes, kept, summed, buffer } = sum
  const m = declareLoop(scope, 'm', kept.count)
  const row = kept.place(m.index)
  const k = declareLoop(scope, 'k', summed.count)
  const along = summed.place(k.index)
  const runs = lowering.contiguousSuffix([values], nAxes)
  const isRun = runs.length === nAxes.length
  const nWalks = isRun ? walksOver(scope, 'n', nAxes, nAxes) : nAxes.map((axis) => walkRun(scope, 'n', [axis]))
  const env = nWalks.reduce((inner, walk) => enter(inner, walk, scope), sum.env).with([[sum.axis, sum.position(along)]])
  const column = nWalks.reduce<Index>(
    (before, walk) => addIndex(scaleIndex(before, walk.bound), walk.index),
    constantIndex(0),
  )
  const register = scope.local(scope.fresh('acc'), 'register', []).name
  const operand = scope.value(values, env)
  const first = node.inputs[0] !== values
  const score = sum.score(row, along)
  const factors = first ? ([score, operand] as const) : ([operand, score] as const)
  const place = sum.at(row, column)
  const body = [
    store(register, [], sum.start(load(buffer, place), row)),
    loop(k.name, summed.count, [store(register, [], exprScalars.fma(factors[0], factors[1], load(register, [])))]),
    store(buffer, place, load(register, [])),
  ]
  const n = nWalks.at(-1)
  const nest = nWalks.reduceRight<readonly Stmt[]>(
    (rest, walk) => [loop(walk.name, walk.extent, rest)],
    [loop(m.name, kept.count, body)],
  )
  if (!n || n.bound === 1) return { stmts: [...nest], reach: Number.POSITIVE_INFINITY }
  const plain: TileNest = {
    accumulator: register,
    n: n.name,
    nBound: n.bound,
    vectorOperand: first ? 1 : 0,
    m: m.name,
    mBound: kept.bound,
    k: [k.name],
    kBounds: [summed.bound],
    kBound: summed.bound,
    between: [],
    transposes: lowering.fastAxis(values) === sum.axis,
    readable: false,
    packBroadcast: 'no',
    neighbours: sum.neighbours,
    grid: undefined,
  }
  const { rows, steps } = lowering.tileOf(plain)
  const whole = takesLanes(plain, lowering.profile) ? lowering.profile.lanes : 1
  const live: TileNest['live'] = (from) => {
    const side = { origin: sum.position(summed.place(constantIndex(0))), count: summed.count, whole }
    const at = (number: Index): Index => sum.keptPosition(kept.place(number))
    return liveRange(sum.rooms, side, { first: at(from), last: at(addIndex(from, rows - 1)) })
  }
  const { after, before } = sum.rooms
  // Both ends, and steps that are left over from whole vectors, are more than the verifier of kernels can see through.
  const isSeen =
    whole === 1 ? after !== undefined || before !== undefined : (after === undefined) !== (before === undefined)
  const isTrimmed = isSeen && steps >= summed.bound
  directives.push(...lowering.tile(isTrimmed ? { ...plain, live } : plain, scope))
  return { stmts: [...nest], reach: isTrimmed ? rows - 1 + whole - 1 : Number.POSITIVE_INFINITY }
}
