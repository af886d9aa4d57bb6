// Dropout as graph nodes, and how to see through it. The language writes the same nodes for a model's own dropout.

import type { GraphBuilder } from '../graph/builder.ts'
import { isMap, isOp } from '../graph/node.ts'
import type { Node } from '../graph/node.ts'
import { isSplat } from './splat.ts'

/** The name of the scalar i32 input that all random numbers are drawn from. */
export const seedInput = 'seed'

/**
 * x with elements set to zero with the given probability and the others divided by the rest (Srivastava et al. 2014).
 * Streams with different numbers are independent; the same one repeats for the same seed.
 */
export function dropout(b: GraphBuilder, x: Node, probability: number, stream: number): Node {
  if (probability === 0) return x
  const kept = b.map('less', b.random(b.read(seedInput), x.axes, stream), b.float(1 - probability))
  return b.map('select', kept, b.map('mul', x, b.float(1 / (1 - probability))), b.float(0))
}

/** What goes into a dropout, when the node is the result of one. */
export function insideDropout(node: Node): Node | undefined {
  const [kept, scaled, otherwise] = node.inputs
  if (!isMap(node, 'select') || !kept || !scaled || !otherwise) return undefined
  const [draw, threshold] = kept.inputs
  if (!isMap(kept, 'less') || !draw || !isOp(draw, 'random') || !threshold || !isOp(threshold, 'constant'))
    return undefined
  if (!isMap(scaled, 'mul') || !isSplat(otherwise, 0)) return undefined
  const factor = scaled.inputs.find((input) => isOp(input, 'constant'))
  const x = scaled.inputs.find((input) => input !== factor)
  if (!factor || !x || !isOp(factor, 'constant')) return undefined
  // Both numbers were rounded to float32 from the same probability.
  const expected = Math.abs(factor.attrs.value * threshold.attrs.value - 1) < 1e-5
  return expected ? x : undefined
}
