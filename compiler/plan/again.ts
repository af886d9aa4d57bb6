// Which values of a function its backward pass computes a second time. A barrier is the identity, so seen through it a
// clone and the value it repeats are one expression. Only barriers that wait for something count: without, a clone may be
// made as early as what it repeats, and then that is a matter of where a value is kept.

import { isOp, rootsOf, topological } from '../graph/node.ts'
import type { GraphFunction, Node } from '../graph/node.ts'

/** Nodes behind a barrier that waits whose expression an earlier node of the function has already computed. */
export function computedAgain(fn: GraphFunction): ReadonlySet<Node> {
  const numbers = new Map<Node, number>()
  const known = new Map<string, number>()
  const waiting = new Set<Node>()
  const again = new Set<Node>()
  for (const node of topological(rootsOf(fn))) {
    const { inputs } = node
    const isBarrier = isOp(node, 'barrier')
    if ((isBarrier && inputs.length > 1) || inputs.some((input) => waiting.has(input))) waiting.add(node)
    const operands = inputs.map((input) => numbers.get(input) as number)
    if (isBarrier) {
      numbers.set(node, operands[0] as number)
      continue
    }
    const axes = node.axes.map(({ name }) => name)
    const expression = `${node.op} ${JSON.stringify(node.attrs)} ${axes.join()} ${operands.join()}`
    const number = known.get(expression)
    if (number === undefined) known.set(expression, known.size)
    else if (waiting.has(node)) again.add(node)
    numbers.set(node, number ?? known.size - 1)
  }
  return again
}
