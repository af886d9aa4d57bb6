// Random graphs that together hold every operation and every derivative often enough: what was seldom so far is grown
// more often in what follows. Only for tests; runs nothing.

import fc from 'fast-check'
import { elementwise } from '../../compiler/graph/elementwise.ts'
import { rootsOf, topological } from '../../compiler/graph/node.ts'
import type { StructuralOp } from '../../compiler/graph/node.ts'
import { structural, structuralRule } from '../../compiler/graph/structural.ts'
import { simplify } from '../../compiler/transform/simplify.ts'
import { flowsBack, nameOf, withGradients } from '../schedule/differentiated.ts'
import { roundNarrow } from '../schedule/launch.ts'
import { growGraph } from './randomGraph.ts'
import type { RandomGraph } from './randomGraph.ts'

/** Every operation that a graph can hold, elementwise ones by their own names. */
export const operations: readonly string[] = [...Object.keys(structural), ...Object.keys(elementwise)].filter(
  (op) => op !== 'map',
)

/** Every operation that a gradient flows back through. */
export const derivatives: readonly string[] = [
  ...(Object.keys(structural) as StructuralOp[]).filter((op) => {
    return op !== 'map' && op !== 'random' && structuralRule(op).derivative
  }),
  ...Object.keys(elementwise).filter(flowsBack),
]

export interface CountedGraphs {
  readonly graphs: readonly RandomGraph[]
  /** In how many graphs each operation stands. */
  readonly forward: ReadonlyMap<string, number>
  /** In how many graphs a gradient flows back through each. */
  readonly backward: ReadonlyMap<string, number>
}

const sizes = [1, 3, 17, 65, 129]

/** The operations that have been seen least often so far. */
function seldom(counts: ReadonlyMap<string, number>, names: readonly string[]): string[] {
  const seen = (name: string): number => counts.get(name) ?? 0
  return names.toSorted((a, b) => seen(a) - seen(b)).slice(0, 6)
}

/** Every other graph comes with the gradients of all its trainable values, half of those simplified. */
export function countedGraphs(count: number, seed: number): CountedGraphs {
  const forward = new Map<string, number>()
  const backward = new Map<string, number>()
  const note = (counts: Map<string, number>, names: Iterable<string>): void => {
    for (const name of new Set(names)) counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  const numbers = fc.array(fc.nat(2 ** 20), { minLength: 80, maxLength: 300, size: 'max' })
  const graphs = fc.sample(numbers, { numRuns: count, seed }).map((one, turn): RandomGraph => {
    const hasGradients = turn % 2 === 1
    const favoured = hasGradients ? seldom(backward, derivatives) : seldom(forward, operations)
    const shape = hasGradients ? { steps: 16, elements: 1500, trainedViews: true } : { steps: 8, elements: 6000 }
    const grown = growGraph(one, { ...shape, sizes, favoured })
    note(forward, topological(grown.graph.functions.flatMap(rootsOf)).map(nameOf))
    const adjoint = hasGradients ? withGradients(grown, turn % 4 === 1 ? [] : [simplify()]) : undefined
    if (adjoint) note(backward, adjoint.differentiated)
    const { graph, values, extents } = adjoint ?? grown
    roundNarrow(graph, values)
    return { graph, values, extents }
  })
  return { graphs, forward, backward }
}
