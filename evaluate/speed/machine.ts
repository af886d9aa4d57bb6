// Programs that measure the machine: its multiply-add peak and the rate of its memory, written in kernel IR so that they
// run wherever a tool chain does.

import { constantIndex, scaleIndex, addIndex, variable } from '../../compiler/kernel/index.ts'
import type { Expr, Kernel, Stmt } from '../../compiler/kernel/ir.ts'
import { denseDims } from '../../compiler/kernel/ir.ts'
import type { Program } from '../../compiler/plan/program.ts'
import type { ScheduleProfile } from '../../compiler/schedule/profile.ts'

/** Iterations of the peak's loop: 13 ms at 250 GFLOP/s, so that to ask for them takes no part of it. */
const peakIterations = 1 << 22

export interface Measured {
  readonly program: Program
  readonly fn: string
  /** Floating-point operations of one call, or bytes that it moves. */
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
  const program = oneKernel(kernel, { x: chains * lanes, y: threads * chains * lanes })
  return { program, fn: 'peak', operations: 2 * threads * chains * lanes * peakIterations }
}

/** Elements that the copy reads: with those it writes, more than the last cache of most machines holds. */
const copiedElements = 1 << 24

/** y = x, pieces to threads: nothing that reads and writes memory can be faster. */
export function copyProgram({ lanes, threads }: ScheduleProfile): Measured {
  const pieces = 4 * threads
  const vectors = Math.floor(copiedElements / lanes / pieces)
  const elements = pieces * vectors * lanes
  const place = addIndex(scaleIndex(variable('piece'), vectors * lanes), scaleIndex(variable('i'), lanes))
  const kernel: Kernel = {
    name: 'copy',
    sizes: [],
    arguments: [
      { name: 'x', dtype: 'f32', space: 'argument', access: 'read', dims: denseDims([elements]) },
      { name: 'y', dtype: 'f32', space: 'argument', access: 'write', dims: denseDims([elements]) },
    ],
    locals: [],
    body: [
      {
        kind: 'for', variable: 'piece', extent: constantIndex(pieces), binding: 'grid',
        body: [
          {
            kind: 'for', variable: 'i', extent: constantIndex(vectors), binding: 'serial',
            body: [
              {
                kind: 'store', buffer: 'y', indices: [place], lanes,
                value: { kind: 'load', buffer: 'x', indices: [place], type: 'f32', lanes },
              },
            ],
          },
        ],
      },
    ],
  } // prettier-ignore
  return { program: oneKernel(kernel, { x: elements, y: elements }), fn: 'copy', operations: 8 * elements }
}

/** A program of one kernel from an input `x` to memory of its own. */
function oneKernel(kernel: Kernel, elements: { readonly x: number; readonly y: number }): Program {
  const x = { space: 'inputs', offset: 0 } as const
  const align = (bytes: number): number => Math.ceil(bytes / 64) * 64
  return {
    name: kernel.name,
    sizes: [],
    kernels: [kernel],
    values: [{ name: 'x', role: 'input', dtype: 'f32', shape: [elements.x], bytes: elements.x * 4, place: x }],
    functions: [
      {
        name: kernel.name,
        launches: [{ kernel: 0, arguments: [x, { space: 'arena', offset: 0 }], label: kernel.name }],
        outputs: [],
      },
    ],
    arenaBytes: align(elements.y * 4),
    stateBytes: 0,
    inputBytes: align(elements.x * 4),
    frozenCount: 0,
    storedCount: 0,
  }
}
