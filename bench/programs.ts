// Single contractions that go through the whole schedule, to measure with.

import { GraphBuilder } from '../compiler/graph/builder.ts'
import { Provenance } from '../compiler/graph/node.ts'
import type { Node } from '../compiler/graph/node.ts'
import { planProgram } from '../compiler/plan/place.ts'
import type { ScheduleProfile } from '../compiler/schedule/profile.ts'
import { scheduleFunction } from '../compiler/schedule/schedule.ts'
import type { Measured } from '../evaluate/speed/machine.ts'

export interface ContractionGraph {
  readonly name: string
  readonly b: GraphBuilder
  readonly y: Node
}

/** y[m, n] = Σₖ x[m, k]·w, with w stored [k, n], or [n, k] when `transposed`. */
export function contractionGraph(m: number, n: number, k: number, transposed: boolean): ContractionGraph {
  const b = new GraphBuilder()
  const rows = b.axis('rows', m)
  const inner = b.axis('inner', k)
  const columns = b.axis('columns', n)
  b.declare({ name: 'x', role: 'input', dtype: 'f32', stored: [[rows], [inner]] })
  const stored = transposed ? [[columns], [inner]] : [[inner], [columns]]
  b.declare({ name: 'w', role: 'state', dtype: 'f32', stored })
  const name = `contraction ${m}×${n}×${k}${transposed ? ', weight stored [out, in]' : ''}`
  return { name, b, y: b.dot(b.read('x'), b.read('w'), [inner]) }
}

export function contractionProgram(
  m: number,
  n: number,
  k: number,
  transposed: boolean,
  profile: ScheduleProfile,
): Measured {
  const { b, y } = contractionGraph(m, n, k, transposed)
  b.define({ name: 'contract', outputs: [{ name: 'y', node: y }], writes: [] })
  const graph = b.finish()
  const functions = graph.functions.map((fn) => scheduleFunction(graph, fn, profile))
  const { program } = planProgram('contraction', graph, functions, new Provenance())
  return repeated({ program, fn: 'contract', operations: 2 * m * n * k })
}

/** As many operations as the peak's program has, or nearly: to ask a session for a call takes as long as some millions of them. */
const LEAST_OPERATIONS = 3e9

/** The same over and over in one call. */
function repeated({ program, fn, operations }: Measured): Measured {
  const times = Math.ceil(LEAST_OPERATIONS / operations)
  const functions = program.functions.map((one) => ({
    ...one,
    launches: Array.from({ length: times }, () => one.launches).flat(),
  }))
  return { program: { ...program, functions }, fn, operations: times * operations }
}
