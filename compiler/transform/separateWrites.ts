// Each declared value that a function overwrites gets a node of its own, so that a kernel can compute it in its place:
// equal results (zeroed accumulators, say) are one shared node until here.

import { rootsOf } from '../graph/node.ts'
import type { Node } from '../graph/node.ts'
import type { Pass } from './pass.ts'
import { builderAfter, Copier } from './rebuild.ts'

/** Puts a barrier of its own in front of every write whose value another write, or an output, has as well. */
export function separateWrites(): Pass {
  return {
    name: 'separate-writes',
    summary: 'no two declared values are written from one node',
    run: (graph, { provenance }) => {
      const builder = builderAfter(graph)
      const copier = new Copier(builder, provenance)
      copier.add(graph.functions.flatMap(rootsOf))
      for (const fn of graph.functions) {
        const copied = copier.fn(fn)
        const count = new Map<Node, number>()
        for (const { node } of [...copied.outputs, ...copied.writes]) count.set(node, (count.get(node) ?? 0) + 1)
        const writes = copied.writes.map(({ name, node }) => {
          return { name, node: count.get(node) === 1 ? node : builder.barrier(node, `write ${name}`) }
        })
        builder.define({ ...copied, writes })
      }
      return builder.finish()
    },
  }
}
