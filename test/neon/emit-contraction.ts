// A contraction of packed panels as the schedule would leave it: register tile, one chain of multiply-adds per element,
// edges by partial stores. For goldens, and to measure what the emitted loop reaches.

import { addIndex, ceilDivide, constantIndex, scaleIndex, size, variable } from '../../compiler/kernel/index.ts'
import type { Index } from '../../compiler/kernel/index.ts'
import { denseDims } from '../../compiler/kernel/ir.ts'
import type { Buffer, Expr, Kernel, Stmt } from '../../compiler/kernel/ir.ts'

export interface ContractionShape {
  readonly rows: number
  readonly vectors: number
  readonly lanes: number
  readonly depth: number
  readonly columns: number
}

const BOUND = 512

/** y[seq][columns] = a[seq/rows][depth][rows] · b[columns/width][depth][width], accumulated onto nothing. */
export function contraction({ rows, vectors, lanes, depth, columns }: ContractionShape): Kernel {
  const width = vectors * lanes
  const panels = Math.ceil(columns / width)
  const buffer = (name: string, sizes: readonly number[], access: Buffer['access']): Buffer => ({
    name,
    dtype: 'f32',
    space: 'argument',
    dims: denseDims(sizes),
    access,
  })
  const a = buffer('a', [Math.ceil(BOUND / rows), depth, rows], 'read')
  const b = buffer('b', [panels, depth, width], 'read')
  const y = buffer('y', [BOUND, columns], 'write')
  const acc: Buffer = { name: 'acc', dtype: 'f32', space: 'register', dims: denseDims([rows, width]) }
  const [tile, panel, k] = ['tile', 'panel', 'k'].map(variable) as [Index, Index, Index]
  const cells = Array.from(
    { length: rows * vectors },
    (_, cell) => [Math.floor(cell / vectors), cell % vectors] as const,
  )
  const kept = (row: number, vector: number): readonly Index[] => [constantIndex(row), constantIndex(vector * lanes)]
  const zero: Expr = { kind: 'splat', value: { kind: 'constant', type: 'f32', value: 0 }, lanes }

  const inner: Stmt[] = [
    ...Array.from({ length: vectors }, (_, v): Stmt => ({
      kind: 'let',
      name: `b${v}`,
      value: { kind: 'load', buffer: 'b', indices: [panel, k, constantIndex(v * lanes)], type: 'f32', lanes },
    })),
    ...cells.map(([row, vector]): Stmt => {
      const left: Expr = { kind: 'load', buffer: 'a', indices: [tile, k, constantIndex(row)], type: 'f32', lanes: 1 }
      const args: Expr[] = [
        { kind: 'splat', value: left, lanes },
        { kind: 'local', name: `b${vector}`, type: 'f32', lanes },
        { kind: 'load', buffer: 'acc', indices: kept(row, vector), type: 'f32', lanes },
      ]
      return {
        kind: 'store',
        buffer: 'acc',
        indices: kept(row, vector),
        value: { kind: 'apply', word: 'fma', args, lanes },
        lanes,
      }
    }),
  ]
  const finish = Array.from({ length: rows }, (_, row): Stmt => {
    const at = addIndex(scaleIndex(tile, rows), row)
    return {
      kind: 'if',
      conditions: [{ left: at, right: size('seq') }],
      body: Array.from({ length: vectors }, (_, vector): Stmt => {
        const column = addIndex(scaleIndex(panel, width), vector * lanes)
        return {
          kind: 'store',
          buffer: 'y',
          indices: [at, column],
          value: { kind: 'load', buffer: 'acc', indices: kept(row, vector), type: 'f32', lanes },
          lanes,
          valid: addIndex(columns, scaleIndex(column, -1)),
        }
      }),
    }
  })
  const body: Stmt[] = [
    ...cells.map(([row, vector]): Stmt => ({
      kind: 'store',
      buffer: 'acc',
      indices: kept(row, vector),
      value: zero,
      lanes,
    })),
    { kind: 'for', variable: 'k', extent: constantIndex(depth), binding: 'serial', body: inner },
    ...finish,
  ]
  return {
    name: 'contraction',
    sizes: [{ name: 'seq', bound: BOUND }],
    arguments: [a, b, y],
    locals: [acc],
    body: [
      {
        kind: 'for',
        variable: 'panel',
        extent: constantIndex(panels),
        binding: 'grid',
        body: [{ kind: 'for', variable: 'tile', extent: ceilDivide(size('seq'), rows), binding: 'grid', body }],
      },
    ],
  }
}
