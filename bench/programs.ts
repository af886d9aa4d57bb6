// Small programs to measure with: the machine's multiply-add peak, written in kernel IR so that it runs wherever a tool
// chain does, and single contractions that go through the whole schedule.

import { GraphBuilder } from '../compiler/graph/builder.ts'
import { Provenance } from '../compiler/graph/node.ts'
import { constantIndex, variable } from '../compiler/kernel/index.ts'
import type { Expr, Kernel, Stmt } from '../compiler/kernel/ir.ts'
import { denseDims } from '../compiler/kernel/ir.ts'
import { planProgram } from '../compiler/plan/place.ts'
import type { Program } from '../compiler/plan/program.ts'
import type { ScheduleProfile } from '../compiler/schedule/profile.ts'
import { scheduleFunction } from '../compiler/schedule/schedule.ts'

/** Iterations of the peak's loop: about 20 ms at 250 GFLOP/s. */
const peakIterations = 1 << 18

export interface Measured {
  readonly program: Program
  readonly fn: string
  /** Floating-point operations of one call. */
  readonly operations: number
}

/** Independent chains of multiply-adds in registers, one item per thread: nothing that computes can be faster. */
export function peakProgram(profile: ScheduleProfile): Measured {
  const { lanes, tile, threads } = profile
  // A multiply-add takes four to five cycles and two start in each: fewer chains would measure latency.
  const chains = Math.max(10, tile.rows * tile.vectors)
  // Chains differ from the start, or a compiler would keep one of them.
  const vector = (buffer: string, index: number): Expr => ({
    kind: 'load', buffer, indices: [constantIndex(index * lanes)], type: 'f32', lanes,
  }) // prettier-ignore
  const factor: Expr = { kind: 'local', name: 'factor', type: 'f32', lanes }
  const each = (make: (chain: number) => Stmt): Stmt[] => Array.from({ length: chains }, (_, chain) => make(chain))
  const kernel: Kernel = {
    name: 'peak',
    sizes: [],
    arguments: [
      { name: 'x', dtype: 'f32', space: 'argument', access: 'read', dims: denseDims([chains * lanes]) },
      { name: 'y', dtype: 'f32', space: 'argument', access: 'write', dims: denseDims([threads, chains * lanes]) },
    ],
    locals: [{ name: 'acc', dtype: 'f32', space: 'register', dims: denseDims([chains * lanes]) }],
    body: [
      {
        kind: 'for', variable: 'thread', extent: constantIndex(threads), binding: 'grid',
        body: [
          { kind: 'let', name: 'factor', value: vector('x', 0) },
          ...each((chain) => ({ kind: 'store', buffer: 'acc', indices: [constantIndex(chain * lanes)], value: vector('x', chain), lanes })),
          {
            kind: 'for', variable: 'i', extent: constantIndex(peakIterations), binding: 'serial',
            body: each((chain) => ({
              kind: 'store', buffer: 'acc', indices: [constantIndex(chain * lanes)], lanes,
              value: { kind: 'apply', word: 'fma', args: [factor, factor, vector('acc', chain)], lanes },
            })),
          },
          ...each((chain) => ({
            kind: 'store', buffer: 'y', indices: [variable('thread'), constantIndex(chain * lanes)], value: vector('acc', chain), lanes,
          })),
        ],
      },
    ],
  } // prettier-ignore
  const bytes = threads * chains * lanes * 4
  const program: Program = {
    name: 'peak',
    sizes: [],
    kernels: [kernel],
    values: [
      {
        name: 'x',
        role: 'input',
        dtype: 'f32',
        shape: [chains * lanes],
        bytes: chains * lanes * 4,
        place: { space: 'inputs', offset: 0 },
      },
    ],
    functions: [
      {
        name: 'peak',
        launches: [
          {
            kernel: 0,
            arguments: [
              { space: 'inputs', offset: 0 },
              { space: 'arena', offset: 0 },
            ],
            label: 'peak',
          },
        ],
        outputs: [],
      },
    ],
    arenaBytes: Math.ceil(bytes / 64) * 64,
    stateBytes: 0,
    inputBytes: Math.max(64, chains * lanes * 4),
    frozenCount: 0,
  }
  return { program, fn: 'peak', operations: 2 * threads * chains * lanes * peakIterations }
}

/** y[m, n] = Σₖ x[m, k]·w, with w stored [k, n], or [n, k] when `transposed`. */
export function contractionProgram(
  m: number,
  n: number,
  k: number,
  transposed: boolean,
  profile: ScheduleProfile,
): Measured {
  const b = new GraphBuilder()
  const rows = b.axis('rows', m)
  const inner = b.axis('inner', k)
  const columns = b.axis('columns', n)
  b.declare({ name: 'x', role: 'input', dtype: 'f32', stored: [[rows], [inner]] })
  b.declare({
    name: 'w',
    role: 'state',
    dtype: 'f32',
    stored: transposed ? [[columns], [inner]] : [[inner], [columns]],
  })
  const y = b.dot(b.read('x'), b.read('w'), [inner])
  b.define({ name: 'contract', outputs: [{ name: 'y', node: y }], writes: [] })
  const graph = b.finish()
  const functions = graph.functions.map((fn) => scheduleFunction(graph, fn, profile))
  const { program } = planProgram('contraction', graph, functions, new Provenance())
  return { program, fn: 'contract', operations: 2 * m * n * k }
}
