// Which blocks of a score tensor can matter: a masked score contributes nothing to its softmax, nor a product with a
// masked probability to a gradient. Where the mask compares positions, whole blocks are skipped.

import type { Axis } from '../graph/axis.ts'
import { isMap, isOp } from '../graph/node.ts'
import type { Node } from '../graph/node.ts'
import { addIndex, constantIndex, divideIndex, minIndex, subtractIndex } from '../kernel/index.ts'
import type { Index, Ranges } from '../kernel/index.ts'

/** `low ≤ high` between positions along two axes: what a causal mask says. */
export interface Ordered {
  readonly low: Axis
  readonly high: Axis
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
  if (!isMap(condition, 'intLessEqual') && !isMap(condition, 'intLess')) return []
  return isOp(left, 'iota') && isOp(right, 'iota') ? [{ low: left.attrs.axis, high: right.attrs.axis }] : []
}

/** Whether a condition is certain to hold where both positions are the same, and every position has such a place. */
function holdsOnDiagonal(condition: Node, { low, high }: Ordered): boolean {
  const [left, right] = condition.inputs
  if (!left || !right || low.size !== high.size || low.extent !== high.extent) return false
  if (isMap(condition, 'and')) return holdsOnDiagonal(left, { low, high }) && holdsOnDiagonal(right, { low, high })
  if (!isMap(condition, 'intLessEqual') && !isMap(condition, 'intEqual')) return false
  return meetOnDiagonal(left, right, { low, high }) || meetOnDiagonal(right, left, { low, high })
}

/** Two positions, or one value looked at along either axis. */
function meetOnDiagonal(a: Node, b: Node, { low, high }: Ordered): boolean {
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

/** The blocks of columns in which some row of the block meets what all of the values ask for. */
export function liveBlocks(
  conditions: readonly (readonly Ordered[])[],
  parallel: Axis,
  streamed: Axis,
  { base, rows, columns, blocks }: RowBlock,
  ranges: Ranges,
): LiveBlocks {
  const shared = (low: Axis, high: Axis): boolean =>
    conditions.length > 0 && conditions.every((list) => list.some((one) => one.low === low && one.high === high))
  if (shared(streamed, parallel)) {
    const seen = addIndex(divideIndex(addIndex(base, rows - 1), columns, ranges), 1)
    return { first: constantIndex(0), count: minIndex(blocks, seen) }
  }
  if (shared(parallel, streamed)) {
    const first = divideIndex(base, columns, ranges)
    return { first, count: subtractIndex(blocks, first) }
  }
  return { first: constantIndex(0), count: blocks }
}
