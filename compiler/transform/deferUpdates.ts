// The update of a step apart from the step: pieces of `apply` that can run beside the next step's forward pass, each before what
// needs it. It must not know when they run.

import { InternalError } from '../diagnostic.ts'
import type { Graph, GraphFunction } from '../graph/node.ts'
import { functionNamed } from './pass.ts'
import type { Pass } from './pass.ts'
import { firstMomentOf, secondMomentOf, sums, trainables } from './states.ts'

/** What `apply` does, in pieces: `tables` first, then `update` and `zero`. */
export const deferred = { tables: 'advanceTables', update: 'advanceUpdate', zero: 'advanceZero' } as const

/** Their names. */
export const pieces: ReadonlySet<string> = new Set(Object.values(deferred))

/**
 * Adds `apply` once more as functions of its own: `advanceTables` updates parameters whose rows are fetched before a call, as far
 * as there are any, `advanceUpdate` all others and the optimizer's scalars, `advanceZero` sets sums to zero.
 */
export function deferUpdates(): Pass {
  return {
    name: 'deferUpdates',
    summary: 'the update can run beside the next forward pass',
    // Their nodes are those of `apply`.
    run: (graph) => ({ ...graph, functions: [...graph.functions, ...piecesOf(graph)] }),
  }
}

function piecesOf(graph: Graph): GraphFunction[] {
  const apply = functionNamed(graph, 'apply')
  if (apply.outputs.length > 0) throw new InternalError('an update has outputs')
  const fetched = new Set([...graph.declarations.values()].flatMap(({ rows }) => (rows ? [rows.table] : [])))
  const isSum = sums(graph)
  const ofTables = new Set(
    trainables(graph).flatMap(({ name }) =>
      fetched.has(name) ? [name, firstMomentOf(name), secondMomentOf(name)] : [],
    ),
  )
  const piece = (name: string, isOf: (written: string) => boolean): GraphFunction[] => {
    const writes = apply.writes.filter((write) => isOf(write.name))
    return writes.length === 0 ? [] : [{ name, outputs: [], writes }]
  }
  return [
    ...piece(deferred.tables, (name) => ofTables.has(name)),
    ...piece(deferred.update, (name) => !ofTables.has(name) && !isSum.has(name)),
    ...piece(deferred.zero, (name) => isSum.has(name)),
  ]
}
