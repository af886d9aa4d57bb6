// Which values of a function are computed a second time. A barrier is the identity, so seen through it a clone and the
// value it repeats are one expression.

import { isOp, rootsOf, topological } from '../graph/node.ts'
import type { GraphFunction, Node } from '../graph/node.ts'

/** Nodes whose expression an earlier node of the function has already computed. */
export function computedAgain(fn: GraphFunction): ReadonlySet<Node> {
  const numbers = new Map<Node, number>()
  const known = new Map<string, number>()
  const again = new Set<Node>()
  for (const node of topological(rootsOf(fn))) {
    const inputs = node.inputs.map((input) => numbers.get(input) as number)
    if (isOp(node, 'barrier')) {
      numbers.set(node, inputs[0] as number)
      continue
    }
    const expression = `${node.op} ${JSON.stringify(node.attrs)} ${node.axes.map(({ name }) => name).join()} ${inputs.join()}`
    const number = known.get(expression)
    if (number !== undefined) again.add(node)
    else known.set(expression, known.size)
    numbers.set(node, number ?? known.size - 1)
  }
  return again
}
