// Where a token stands in its text, and which tokens are of one text: index and everything as a rule, what the batch says
// where its rows hold several texts one behind the other, or go on where an earlier call ended. Knows no model.

import type { Axis as GraphAxis } from '../compiler/graph/axis.ts'
import type { Node } from '../compiler/graph/node.ts'
import { key, seq } from './axes.ts'
import type { Operation } from './trace.ts'

/** The position of each element along an axis (i32, over the axis, and over batch where the batch says). */
export function positionsAlong(op: Operation, along: GraphAxis): Node {
  const { builder, trace } = op
  const { reading } = trace
  const isStated = reading && (reading.kept ? trace.sequences.has(along) : along === op.axis(seq))
  return isStated ? alongTwin(op, builder.read(reading.positions), along) : builder.iota(along)
}

/**
 * The place of each element of an axis in the row that attention looks over (i32): its index, unless keys are kept, when
 * the row is the whole text.
 */
export function placesAlong(op: Operation, along: GraphAxis): Node {
  return op.trace.reading?.kept ? positionsAlong(op, along) : op.builder.iota(along)
}

/** A value over `seq` as one over an axis like it. */
export function alongTwin(op: Operation, node: Node, twin: GraphAxis): Node {
  const along = op.axis(seq)
  return twin === along ? node : op.builder.rename(node, along, twin)
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
