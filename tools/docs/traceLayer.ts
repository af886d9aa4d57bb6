// Makes a graph with one function, `layer`, of the layer that docs/pipeline.md follows: what defineModel() does for a
// language model, for one value.

import type { Place } from '../../compiler/diagnostic.ts'
import type { Graph, Provenance } from '../../compiler/graph/node.ts'
import { bindWellKnown } from '../../dsl/axes.ts'
import { parameterScope } from '../../dsl/parameters.ts'
import { operation, Trace, within } from '../../dsl/trace.ts'
import { batch, seq } from '../../dsl/index.ts'
import { smallLayer } from './smallLayer.ts'

/** One sequence of up to 128 positions; `names` gives the variable that a call initialises. */
export function traceLayer(names: (place: Place) => string | undefined): { graph: Graph; provenance: Provenance } {
  const trace = new Trace({ sequences: 1, length: 128, names })
  return within(trace, () => {
    bindWellKnown(trace)
    const result = smallLayer(parameterScope(''), (embed) =>
      operation('input', (op) => {
        const stored = [batch, seq, embed].map((axis) => [op.axis(axis)])
        op.builder.declare({ name: 'x', role: 'input', dtype: 'f32', stored })
        return op.builder.read('x')
      }),
    )
    operation('output', (op) => {
      const node = op.node(result, 'the result')
      op.builder.define({ name: 'layer', outputs: [{ name: 'activated', node }], writes: [] })
      return node
    })
    return { graph: trace.builder.finish(), provenance: trace.provenance }
  })
}
