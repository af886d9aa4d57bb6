// Which blocks of a score tensor can matter, and which rows of them: a masked score contributes nothing to its softmax, nor a
// product with a masked probability to a gradient. Where the mask compares positions, whole blocks are skipped, and of a block
// that some rows see the rows that do not.

import type { Axis } from '../graph/axis.ts'
import { isMap, isOp } from '../graph/node.ts'
import type { Node } from '../graph/node.ts'
import {
  addIndex,
  ceilDivide,
  constantIndex,
  divideIndex,
  minIndex,
  scaleIndex,
  subtractIndex,
} from '../kernel/index.ts'
import type { Index, Ranges } from '../kernel/index.ts'
import type { LoopPart } from '../kernel/trimming.ts'

/** low ≤ high + room, between positions along two axes: what causal masks and windows say. */
export interface Ordered {
  readonly low: Axis
  readonly high: Axis
  readonly room: number
}

/** Scores at or below this are masked. */
const masked = -1e38

/** Conditions without which a score is masked, of those that leave every row at least its diagonal. */
export function scoreConditions(node: Node): Ordered[] {
  const [condition, , otherwise] = node.inputs
  if (!isMap(node, 'select') || !condition || !otherwise) return []
  const closed = isOp(otherwise, 'constant') && otherwise.attrs.value <= masked
  // In a row without any other score, masked ones count.
  return closed ? orderings(condition).filter((ordered) => holdsOnDiagonal(condition, ordered)) : []
}

/** Conditions without which a value is zero. */
export function valueConditions(node: Node): Ordered[] {
  const [first, second, third] = node.inputs
  if (!first) return []
  if (isMap(node, 'mul')) return [...valueConditions(first), ...(second ? valueConditions(second) : [])]
  if (isMap(node, 'neg')) return valueConditions(first)
  if (isMap(node, 'exp')) return probabilityConditions(first)
  if (isMap(node, 'select') && second && third) {
    const zero = isOp(third, 'constant') && third.attrs.value === 0
    return zero ? [...orderings(first), ...valueConditions(second)] : []
  }
  return []
}

/** exp(score − logSumExp of the same scores) is zero where the score is masked. */
function probabilityConditions(exponent: Node): Ordered[] {
  const [score, total] = exponent.inputs
  if (!isMap(exponent, 'sub') || !score || !total) return []
  return isOp(total, 'logSumExp') && total.inputs[0] === score ? scoreConditions(score) : []
}

function orderings(condition: Node): Ordered[] {
  const [left, right] = condition.inputs
  if (!left || !right) return []
  if (isMap(condition, 'and')) return [...orderings(left), ...orderings(right)]
  const strict = isMap(condition, 'intLess')
  if (!strict && !isMap(condition, 'intLessEqual')) return []
  const [low, high] = [positionOf(left), positionOf(right)]
  if (!low || !high) return []
  return [{ low: low.axis, high: high.axis, room: high.shift - low.shift - (strict ? 1 : 0) }]
}

/** Beyond it, 32-bit sums with a position might overflow. */
const widestShift = 2 ** 30

/** A position along an axis, moved by a number. */
function positionOf(node: Node): { readonly axis: Axis; readonly shift: number } | undefined {
  if (isOp(node, 'iota')) return { axis: node.attrs.axis, shift: 0 }
  const sign = isMap(node, 'intAdd') ? 1 : isMap(node, 'intSub') ? -1 : undefined
  const [first, second] = node.inputs
  if (sign === undefined || !first || !second) return undefined
  const swapped = sign === 1 && isOp(first, 'constant')
  const [moved, by] = swapped ? [second, first] : [first, second]
  const position = positionOf(moved)
  if (!position || !isOp(by, 'constant')) return undefined
  const shift = position.shift + sign * by.attrs.value
  return Math.abs(shift) <= widestShift ? { axis: position.axis, shift } : undefined
}

/** Whether a condition is certain to hold where both positions are the same, and every position has such a place. */
function holdsOnDiagonal(condition: Node, { low, high }: Pick<Ordered, 'low' | 'high'>): boolean {
  const [left, right] = condition.inputs
  if (!left || !right || low.size !== high.size || low.extent !== high.extent) return false
  if (isMap(condition, 'and')) return holdsOnDiagonal(left, { low, high }) && holdsOnDiagonal(right, { low, high })
  const between = (one: Ordered): boolean =>
    (one.low === low && one.high === high) || (one.low === high && one.high === low)
  if (orderings(condition).some((one) => one.room >= 0 && between(one))) return true
  if (!isMap(condition, 'intLessEqual') && !isMap(condition, 'intEqual')) return false
  return meetOnDiagonal(left, right, { low, high }) || meetOnDiagonal(right, left, { low, high })
}

/** Two positions, or one value looked at along either axis. */
function meetOnDiagonal(a: Node, b: Node, { low, high }: Pick<Ordered, 'low' | 'high'>): boolean {
  if (isOp(a, 'iota') && isOp(b, 'iota')) return a.attrs.axis === low && b.attrs.axis === high
  if (!isOp(a, 'rename') || a.inputs[0] !== b) return false
  const { from, to } = a.attrs
  return (from === low && to === high) || (from === high && to === low)
}

/** A block of rows, and the blocks of columns that it could walk. */
export interface RowBlock {
  readonly base: Index
  readonly rows: number
  readonly columns: number
  readonly blocks: Index
}

export interface LiveBlocks {
  readonly first: Index
  readonly count: Index
}

/** How far a position along one axis may lie beyond one along the other; undefined where that is no matter. */
export interface Rooms {
  /** column ≤ row + after */
  readonly after: number | undefined
  /** row ≤ column + before */
  readonly before: number | undefined
}

export function roomsOf(conditions: readonly (readonly Ordered[])[], parallel: Axis, streamed: Axis): Rooms {
  // Of what one value asks for, the narrowest counts; of several values, the widest.
  const roomBetween = (low: Axis, high: Axis): number | undefined => {
    const rooms = conditions.map((list) =>
      list.reduce((least, one) => (one.low === low && one.high === high ? Math.min(least, one.room) : least), Infinity),
    )
    const widest = Math.max(-Infinity, ...rooms)
    // A block more than needed does no harm, and counts stay positive.
    return Number.isFinite(widest) ? Math.max(0, widest) : undefined
  }
  return { after: roomBetween(streamed, parallel), before: roomBetween(parallel, streamed) }
}

/** The blocks of columns in which some row of the block meets what all of the values ask for. */
export function liveBlocks(
  { after, before }: Rooms,
  { base, rows, columns, blocks }: RowBlock,
  ranges: Ranges,
): LiveBlocks {
  const last = after === undefined ? undefined : divideIndex(addIndex(base, rows - 1 + after), columns, ranges)
  const seen = last === undefined ? blocks : minIndex(blocks, addIndex(last, 1))
  if (before === undefined) return { first: constantIndex(0), count: seen }
  // Exact where blocks of rows begin as blocks of columns do, one block early otherwise; nothing negative is divided.
  const own = divideIndex(base, columns, ranges)
  const first = before === 0 ? own : subtractIndex(own, minIndex(own, Math.ceil(before / columns)))
  return { first, count: subtractIndex(seen, first) }
}

/** A block of columns that a block of rows walks, and how many it has. */
export interface ColumnBlock {
  readonly base: Index
  readonly columns: Index | number
}

export interface LiveRows {
  readonly first: Index
  readonly count: Index
}

/** Rows of the block, counted from its base, of which some place in a block of columns meets what is asked for. */
export function liveRows(
  { after, before }: Rooms,
  { base, columns }: ColumnBlock,
  rowBase: Index,
  rows: Index,
): LiveRows {
  const beyond = (position: Index): Index => subtractIndex(position, minIndex(position, rowBase))
  const end = before === undefined ? rows : minIndex(rows, beyond(addIndex(base, columns, before)))
  if (after === undefined) return { first: constantIndex(0), count: end }
  const first = minIndex(end, beyond(after === 0 ? base : subtractIndex(base, minIndex(base, after))))
  // Whoever bounds it sees that it is at most all rows.
  return { first, count: minIndex(rows, subtractIndex(end, first)) }
}

/** One side of a block: where its first place lies, how many there are, and how many go together. */
export interface BlockSide {
  readonly origin: Index
  readonly count: Index
  readonly whole: number
}

/** Places along the other side, from one to another. */
export interface Span {
  readonly first: Index
  readonly last: Index
}

/**
 * Places of the side, counted from its first, that some of the others see: none where `to` is not behind `from`. `after`: how far a place of the side may lie beyond
 * one of the others; `before`: the other way round.
 */
export function liveRange(
  { after, before }: Rooms,
  { origin, count, whole }: BlockSide,
  { first, last }: Span,
): LoopPart {
  const end = after === undefined ? count : positive(addIndex(subtractIndex(last, origin), after + 1))
  const to = minIndex(count, scaleIndex(ceilDivide(end, whole), whole))
  if (before === undefined) return { from: constantIndex(0), to }
  const begin = positive(subtractIndex(first, addIndex(origin, before)))
  return { from: scaleIndex(divideIndex(begin, whole), whole), to }
}

/** 0 for what is below. One term: a quotient of it is taken of all of it, and is seen not to be negative. */
const positive = (index: Index): Index => scaleIndex(minIndex(scaleIndex(index, -1), 0), -1)
