// What a rule of simplification is, and the small questions that rules ask of nodes.

import type { GraphBuilder } from '../graph/builder.ts'
import { isMap } from '../graph/node.ts'
import type { Node } from '../graph/node.ts'

/** One rewrite: an equal node that is better, or undefined where the rule does not apply. */
export interface Rule {
  readonly name: string
  /** For people: before → after. */
  readonly summary: string
  readonly apply: (b: GraphBuilder, node: Node) => Node | undefined
}

/** The two operands of a binary map of that name. */
export function operandsOf(node: Node, fn: string): readonly [Node, Node] | undefined {
  const [x, y] = node.inputs
  return isMap(node, fn) && x && y ? [x, y] : undefined
}

/** Both ways of looking at a commutative operation. */
export function eitherWay(node: Node, fn: string): readonly (readonly [Node, Node])[] {
  const operands = operandsOf(node, fn)
  return operands ? [operands, [operands[1], operands[0]]] : []
}

/** The only operand of a map of that name. */
export function insideOf(node: Node, fn: string): Node | undefined {
  return isMap(node, fn) ? node.inputs[0] : undefined
}
