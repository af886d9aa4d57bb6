// Where the buffers of a workgroup's nest live: with the invocation that alone touches an element, or with all of them.
// An access is an invocation's own when its row is the invocation's and its column falls to it in turn.

import { constantOf, divideIndex, indexMentions, strideOf, subtractIndex, variable } from './index.ts'
import type { Index } from './index.ts'
import type { Buffer, Expr, Kernel, Stmt } from './ir.ts'
import { bufferElements, denseDims } from './ir.ts'
import { mapStmt, mapBlocks, visitExprs, visitStmts } from './rewrite.ts'

export interface Invocations {
  readonly column: string
  readonly columns: number
  readonly rows?: { readonly inner: string; readonly size: number }
}

/** Which places belong to one invocation alone. */
export interface Ownership {
  readonly isColumn: (index: Index) => boolean
  /** Absent where a workgroup has one row. */
  readonly isRow: ((index: Index) => boolean) | undefined
}

export function ownership({ column, columns, rows }: Invocations): Ownership {
  return {
    isColumn: (index) => {
      if (strideOf(index, column) !== 1) return false
      const rest = subtractIndex(index, variable(column))
      return rest.constant % columns === 0 && rest.terms.every((term) => term.scale % columns === 0)
    },
    isRow: rows && ((index) => JSON.stringify(index) === JSON.stringify(variable(rows.inner))),
  }
}

/** Whether only the invocation that makes an access ever makes one there: by its first index a row, by its last a column. */
export function isOwn(indices: readonly Index[], { isColumn, isRow }: Ownership): boolean {
  const [first, last] = [indices[0], indices.at(-1)]
  return first !== undefined && last !== undefined && isColumn(last) && (isRow === undefined || isRow(first))
}

interface Access {
  readonly buffer: string
  readonly indices: readonly Index[]
}

/** All accesses below statements to anything but loaded indices. */
export function accessesOf(body: readonly Stmt[], visit: (access: Access, kind: 'load' | 'store') => void): void {
  visitStmts(body, (stmt) => {
    if (stmt.kind === 'store') visit(stmt, 'store')
    if (stmt.kind !== 'store' && stmt.kind !== 'let') return
    visitExprs(stmt.value, (expr) => {
      if (expr.kind === 'load') visit(expr, 'load')
    })
  })
}

/** Most elements that an invocation keeps under names of their own. */
const NAMED = 16

/** Registers that a loop's variable picks from become private arrays; small arrays of constant places, registers. */
export function settleRegisters(kernel: Kernel): Kernel {
  const varying = new Set<string>()
  accessesOf(kernel.body, ({ buffer, indices }) => {
    if (indices.some((index) => constantOf(index) === undefined)) varying.add(buffer)
  })
  const locals = kernel.locals.map((buffer): Buffer => {
    if (buffer.space === 'register' && varying.has(buffer.name)) return { ...buffer, space: 'scratch' }
    const named = buffer.space === 'scratch' && !varying.has(buffer.name) && bufferElements(buffer) <= NAMED
    return named ? { ...buffer, space: 'register' } : buffer
  })
  return { ...kernel, locals }
}

/** The place of each dimension when only one invocation touches an element; undefined where others do. */
function privateDims(
  accesses: readonly (readonly Index[])[],
  rank: number,
  on: Invocations,
): ('row' | 'column' | 'kept')[] | undefined {
  const { isColumn, isRow } = ownership(on)
  const dims = Array.from({ length: rank }, (_, place) => {
    const all = (test: (index: Index) => boolean): boolean =>
      accesses.length > 0 && accesses.every((indices) => test(indices[place] as Index))
    if (isRow && all(isRow)) return 'row'
    return all(isColumn) ? 'column' : 'kept'
  })
  const free = (name: string): boolean =>
    accesses.every((indices) => !indices.some((index) => indexMentions(index, name)))
  const rowFits = !on.rows || dims.includes('row') || free(on.rows.inner)
  const columnFits = dims.includes('column') || free(on.column)
  return rowFits && columnFits ? dims : undefined
}

/** Moves every local buffer of a kernel to where it can be; rewrites accesses to buffers that lose a dimension. */
export function placeBuffers(
  kernel: Kernel,
  body: readonly Stmt[],
  on: Invocations,
): { locals: Buffer[]; body: Stmt[] } {
  const accesses = new Map(kernel.locals.map((buffer): [string, (readonly Index[])[]] => [buffer.name, []]))
  accessesOf(body, ({ buffer, indices }) => accesses.get(buffer)?.push(indices))
  const kept = new Map<string, readonly ('row' | 'column' | 'kept')[]>()
  const locals = kernel.locals.map((buffer): Buffer => {
    const dims = privateDims(accesses.get(buffer.name) ?? [], buffer.dims.length, on)
    if (dims) {
      kept.set(buffer.name, dims)
      const sizes = buffer.dims.flatMap((dim, place) => {
        if (dims[place] === 'row') return []
        return [dims[place] === 'column' ? Math.ceil(dim.size / on.columns) : dim.size]
      })
      return { ...buffer, dims: denseDims(sizes) }
    }
    const { isRow } = ownership(on)
    const sizes = buffer.dims.map((dim, place) => {
      const rows =
        isRow !== undefined && (accesses.get(buffer.name) ?? []).every((indices) => isRow(indices[place] as Index))
      return rows ? Math.min(dim.size, on.rows?.size ?? dim.size) : dim.size
    })
    return { ...buffer, space: 'workgroup', dims: denseDims(sizes) }
  })
  const within = (buffer: string, indices: readonly Index[]): readonly Index[] => {
    const dims = kept.get(buffer)
    if (!dims) return indices
    return indices.flatMap((index, place) => {
      if (dims[place] === 'row') return []
      return [dims[place] === 'column' ? divideIndex(subtractIndex(index, variable(on.column)), on.columns) : index]
    })
  }
  const load = (expr: Expr): Expr =>
    expr.kind === 'load' ? { ...expr, indices: within(expr.buffer, expr.indices) } : expr
  const rewritten = mapBlocks(body, (stmt) => {
    if (stmt.kind === 'let' || stmt.kind === 'store') {
      const changed = mapStmt(stmt, { expr: load })
      return [changed.kind === 'store' ? { ...changed, indices: within(changed.buffer, changed.indices) } : changed]
    }
    return [stmt]
  })
  return { locals, body: rewritten }
}
