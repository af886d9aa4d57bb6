// What a transform of the graph is: a name, one line about it, and a pure function. `runner.ts` runs lists of them.

import type { Graph, GraphFunction, Provenance } from '../graph/node.ts'
import { InternalError } from '../diagnostic.ts'

/** What passes share besides the graph. */
export interface PassContext {
  /** Names and places of nodes; a pass notes those of the nodes it makes. */
  readonly provenance: Provenance
}

export interface Pass {
  readonly name: string
  /** One line for people: what the graph can do after it that it could not before. */
  readonly summary: string
  /** Leaves the given graph as it is. */
  readonly run: (graph: Graph, context: PassContext) => Graph
}

/** The function of that name. Throws InternalError when an earlier pass should have made it and did not. */
export function functionNamed(graph: Graph, name: string): GraphFunction {
  const found = graph.functions.find((fn) => fn.name === name)
  if (found === undefined) throw new InternalError(`the graph has no function '${name}'`)
  return found
}
