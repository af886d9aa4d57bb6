// Adds the function `evaluate`: the loss as `loss` computes it, without dropout. Before differentiation, which needs
// `loss` as it is.

import { rootsOf } from '../graph/node.ts'
import { insideDropout } from './dropout.ts'
import { functionNamed } from './pass.ts'
import type { Pass } from './pass.ts'
import { builderAfter, Copier } from './rebuild.ts'

/** Defines `evaluate` (outputs as those of `loss`) unless the graph has it. */
export function evaluation(): Pass {
  return {
    name: 'evaluation',
    summary: 'a function `evaluate` computes the loss without dropout',
    run: (graph, { provenance }) => {
      if (graph.functions.some((fn) => fn.name === 'evaluate')) return graph
      const builder = builderAfter(graph)
      const kept = new Copier(builder, provenance)
      kept.add(graph.functions.flatMap(rootsOf))
      for (const fn of graph.functions) builder.define(kept.fn(fn))
      const loss = functionNamed(graph, 'loss')
      const settled = new Copier(builder, provenance)
      settled.add(rootsOf(loss), (copy) => insideDropout(copy) ?? copy)
      builder.define(settled.fn(loss, 'evaluate'))
      return builder.finish()
    },
  }
}
