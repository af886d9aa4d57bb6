// Where a token stands in its text, and which tokens are of one text: index and everything as a rule, what the batch says
// where its rows hold several texts one behind the other. Knows no model.

import type { Axis as GraphAxis } from '../compiler/graph/axis.ts'
import type { Node } from '../compiler/graph/node.ts'
import { key, seq } from './axes.ts'
import type { Operation } from './trace.ts'

/** The position of each element along an axis (i32, over the axis; over batch and seq where rows hold several texts). */
export function positionsAlong(op: Operation, along: GraphAxis): Node {
  const { builder, trace } = op
  return trace.options.packed === true && along === op.axis(seq) ? builder.read('positions') : builder.iota(along)
}

/** Where rows hold several texts: whether a query and a key are of the same one (bool over batch, seq, key). */
export function sameText(op: Operation, scores: Node, keys: GraphAxis): Node | undefined {
  const { builder, trace } = op
  if (trace.options.packed !== true || keys !== op.axis(key) || !scores.axes.includes(op.axis(seq))) return undefined
  return op.outsideLayers(() => {
    const segments = builder.read('segments')
    return builder.map('intEqual', segments, builder.rename(segments, op.axis(seq), keys))
  })
}
