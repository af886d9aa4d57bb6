// Which inputs are used as indices, and below what they must stay: read off the kernels, so that a caller's numbers are
// refused before a kernel could read outside its memory with them. Knows no function by name.

import type { Expr, Kernel, Stmt } from '../../../compiler/kernel/ir.ts'
import type { Atom, Index } from '../../../compiler/kernel/index.ts'
import { rangeTransfers } from '../../../compiler/plan/program.ts'
import type { Program, ProgramFunction, RowsRead } from '../../../compiler/plan/program.ts'

type MovedRows = Pick<RowsRead, 'tensor' | 'ids' | 'rowBytes'>

/** By name of an input: its elements are indices, at least 0 and below this. */
export function idBounds(program: Program): Map<string, number> {
  const inputs = new Map<number, string>()
  for (const value of program.values) {
    if (value.place.space === 'inputs') inputs.set(value.place.offset, value.name)
  }
  const bounds = new Map<string, number>()
  const ofKernels = program.kernels.map(argumentBounds)
  for (const { launches } of program.functions) {
    for (const launch of launches) {
      for (const [argument, bound] of ofKernels[launch.kernel] ?? []) {
        const place = launch.arguments[argument]
        const name = place?.space === 'inputs' ? inputs.get(place.offset) : undefined
        if (name !== undefined) bounds.set(name, Math.min(bound, bounds.get(name) ?? Infinity))
      }
    }
  }
  // Rows are brought by the run-time.
  for (const { tensor, ids, rowBytes } of program.functions.flatMap(movedRows)) {
    const name = ids.space === 'inputs' ? inputs.get(ids.offset) : undefined
    const table = program.values.find(({ place }) => {
      return place.space === tensor.space && 'index' in place && place.index === tensor.index
    })
    if (name === undefined || !table) continue
    bounds.set(name, Math.min(Math.floor(table.bytes / rowBytes), bounds.get(name) ?? Infinity))
  }
  return bounds
}

/** Rows of tensors that a function needs, or moves, by ids. */
function movedRows({ rows = [], transfers }: ProgramFunction): MovedRows[] {
  return [
    ...rows,
    ...rangeTransfers(transfers).flatMap(({ tensor, rows: named }) => (named ? [{ tensor, ...named }] : [])),
  ]
}

/** By position of an argument: the least bound of a loaded index that is one of its elements. */
function argumentBounds(kernel: Kernel): Map<number, number> {
  const bounds = new Map<string, number>()
  const named = new Map<string, Expr>()

  const atom = (given: Atom): void => {
    if (given.kind === 'div' || given.kind === 'mod') index(given.value)
    if (given.kind === 'min') [given.left, given.right].forEach(index)
    if (given.kind !== 'value') return
    const source = given.value.kind === 'local' ? (named.get(given.value.name) ?? given.value) : given.value
    if (source.kind === 'load') bounds.set(source.buffer, Math.min(given.below, bounds.get(source.buffer) ?? Infinity))
    expr(given.value)
  }
  const index = (given: Index): void => given.terms.forEach((term) => atom(term.atom))
  const expr = (given: Expr): void => {
    switch (given.kind) {
      case 'index':
      case 'ramp':
        return index(given.index)
      case 'load':
        given.indices.forEach(index)
        if (given.valid) index(given.valid)
        return
      case 'splat':
        return expr(given.value)
      case 'apply':
      case 'pack':
        return given.args.forEach(expr)
      case 'constant':
      case 'local':
      case 'tree':
        return
    }
  }
  const statement = (stmt: Stmt): void => {
    switch (stmt.kind) {
      case 'for':
        index(stmt.extent)
        return stmt.body.forEach(statement)
      case 'if':
        stmt.conditions.forEach(({ left, right }) => [left, right].forEach(index))
        return stmt.body.forEach(statement)
      case 'let':
        named.set(stmt.name, stmt.value)
        return expr(stmt.value)
      case 'store':
        stmt.indices.forEach(index)
        if (stmt.valid) index(stmt.valid)
        return expr(stmt.value)
      case 'barrier':
      case 'prefetch':
      case 'transpose':
        return
    }
  }
  kernel.body.forEach(statement)

  const result = new Map<number, number>()
  kernel.arguments.forEach((buffer, position) => {
    const bound = bounds.get(buffer.name)
    if (bound !== undefined) result.set(position, bound)
  })
  return result
}
