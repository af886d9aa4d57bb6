// Rows of large tables that inputs ask for are fetched before a call instead of being looked up by kernels: the table need not
// be in memory. It must not know where tables lie.

import { isOp, rootsOf, topological } from '../graph/node.ts'
import type { Declaration, Graph, Node } from '../graph/node.ts'
import type { Pass } from './pass.ts'
import { builderAfter, Copier } from './rebuild.ts'

/** `gather` of a parameter for which `isLarge`, at an input's ids along the table's rows, becomes a read of fetched rows. */
export function fetchRows(isLarge: (declared: Declaration) => boolean): Pass {
  return {
    name: 'fetchRows',
    summary: 'rows of tables that are not in memory are fetched before a call',
    run: (graph, { provenance }) => {
      const wanted = new Map<string, Declaration>()
      const roots = graph.functions.flatMap(rootsOf)
      const found = new Map<Node, string>()
      for (const node of topological(roots)) {
        const declared = fetched(graph, node, isLarge)
        if (!declared) continue
        wanted.set(declared.name, declared)
        found.set(node, declared.name)
      }
      if (found.size === 0) return graph
      const builder = builderAfter(graph, [...wanted.values()])
      const copier = new Copier(builder, provenance)
      copier.add(roots, (copy, original) => {
        const name = found.get(original)
        return name === undefined ? copy : builder.read(name)
      })
      for (const fn of graph.functions) builder.define(copier.fn(fn))
      return builder.finish()
    },
  }
}

function isParameter({ role }: Declaration): boolean {
  return role === 'frozen' || role === 'trainable'
}

function fetched(graph: Graph, node: Node, isLarge: (declared: Declaration) => boolean): Declaration | undefined {
  if (!isOp(node, 'gather')) return undefined
  const [table, ids] = node.inputs.map((input) =>
    isOp(input, 'read') ? graph.declarations.get(input.attrs.name) : undefined,
  )
  if (!table || !isParameter(table) || ids?.role !== 'input' || ids.rows || !isLarge(table)) return undefined
  const [rows] = table.stored
  if (rows?.length !== 1 || rows[0] !== node.attrs.axis) return undefined
  return {
    name: `rows/${ids.name}/${table.name}`,
    role: 'input',
    dtype: table.dtype,
    stored: [...ids.stored, ...table.stored.slice(1)],
    rows: { table: table.name, ids: ids.name },
  }
}
