// Which blocks of a score tensor can matter: a masked score contributes nothing to its softmax, nor a product with a
// masked probability to a gradient. Where the mask compares positions, whole blocks are skipped.

import type { Axis } from '../graph/axis.ts'
import { isMap, isOp } from '../graph/node.ts'
import type { Node } from '../graph/node.ts'

/** `low ≤ high` between positions along two axes: what a causal mask says. */
export interface Ordered {
  readonly low: Axis
  readonly high: Axis
}

/** Scores at or below this are masked. */
const masked = -1e38

/** Conditions without which a score is masked. */
export function scoreConditions(node: Node): Ordered[] {
  const [condition, , otherwise] = node.inputs
  if (!isMap(node, 'select') || !condition || !otherwise) return []
  const closed = isOp(otherwise, 'constant') && otherwise.attrs.value <= masked
  return closed ? orderings(condition) : []
}

/** Conditions without which a value is zero. */
export function valueConditions(node: Node): Ordered[] {
  const [first, second, third] = node.inputs
  if (!first) return []
  if (isMap(node, 'mul')) return [...valueConditions(first), ...(second ? valueConditions(second) : [])]
  if (isMap(node, 'neg')) return valueConditions(first)
  if (isMap(node, 'exp')) return isMap(first, 'sub') && first.inputs[0] ? scoreConditions(first.inputs[0]) : []
  if (isMap(node, 'select') && second && third) {
    const zero = isOp(third, 'constant') && third.attrs.value === 0
    return zero ? [...orderings(first), ...valueConditions(second)] : []
  }
  return []
}

function orderings(condition: Node): Ordered[] {
  const [left, right] = condition.inputs
  if (!left || !right) return []
  if (isMap(condition, 'and')) return [...orderings(left), ...orderings(right)]
  if (!isMap(condition, 'intLessEqual') && !isMap(condition, 'intLess')) return []
  return isOp(left, 'iota') && isOp(right, 'iota') ? [{ low: left.attrs.axis, high: right.attrs.axis }] : []
}
