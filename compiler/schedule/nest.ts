// Small pieces that every lowering puts its loops together from.

import type { Axis } from '../graph/axis.ts'
import type { Directive } from '../kernel/directives.ts'
import type { Binding, Condition, Expr, Stmt, ValueType } from '../kernel/ir.ts'
import {
  asIndex, ceilDivide, exprMentions, indexMentions, minIndex, rangeOf, scaleIndex, strideOf, subtractIndex, variable,
} from '../kernel/index.ts' // prettier-ignore
import type { Index } from '../kernel/index.ts'
import { visitExprs, visitStmts } from '../kernel/rewrite.ts'
import { exprScalars } from './scalars.ts'
import type { KernelScope } from './scope.ts'

/** Elements that a reduction takes at once, one per partial result: part of the numeric contract. */
export const partials = 16
/** Elements after which a reduction starts a new block: part of the numeric contract. */
export const reductionBlock = 4096
/** Score of a masked key: finite, so that a row's first block may be masked as a whole. Part of the numeric contract. */
export const maskedScore = Math.fround(-3.0e38)

export function loop(name: string, extent: Index | number, body: readonly Stmt[], binding: Binding = 'serial'): Stmt {
  return { kind: 'for', variable: name, extent: asIndex(extent), binding, body }
}

export function store(buffer: string, indices: readonly (Index | number)[], value: Expr): Stmt {
  return { kind: 'store', buffer, indices: indices.map(asIndex), value, lanes: 1 }
}

export function load(buffer: string, indices: readonly (Index | number)[]): Expr {
  return { kind: 'load', buffer, indices: indices.map(asIndex), type: 'f32', lanes: 1 }
}

export function guarded(conditions: readonly Condition[], body: readonly Stmt[]): Stmt[] {
  return conditions.length === 0 ? [...body] : [{ kind: 'if', conditions, body }]
}

export function localValue(name: string, type: ValueType = 'f32'): Expr {
  return { kind: 'local', name, type, lanes: 1 }
}

/** Declares a loop variable and tells the scope its range. */
export function declareLoop(
  scope: KernelScope,
  prefix: string,
  extent: Index | number,
): { name: string; index: Index } {
  const name = scope.fresh(prefix)
  const range = rangeOf(asIndex(extent), scope.ranges)
  if (range) scope.ranges.set(name, { low: 0, high: Math.max(0, range.high - 1) })
  return { name, index: variable(name) }
}

/** Wraps a body in loops over axes, outermost first; the leading ones are handed to threads until there is enough to share. */
export function axisLoops(
  loops: readonly { readonly axis: Axis; readonly name: string }[],
  scope: KernelScope,
  body: readonly Stmt[],
  enough: number,
): Stmt[] {
  const bindings: Binding[] = []
  let shared = 1
  for (const { axis } of loops) {
    bindings.push(shared < enough ? 'grid' : 'serial')
    shared *= axis.size
  }
  return loops.reduceRight<readonly Stmt[]>(
    (rest, { axis, name }, place) => [loop(name, scope.extent(axis), rest, bindings[place])],
    body,
  ) as Stmt[]
}

/** The fixed tree over 16 values in scratch: afterwards the first one holds the result. */
export function scratchTree(buffer: string, word: 'add' | 'max'): Stmt[] {
  const stmts: Stmt[] = []
  for (let distance = partials / 2; distance >= 1; distance /= 2) {
    for (let place = 0; place < distance; place++) {
      const value = exprScalars[word](load(buffer, [place]), load(buffer, [place + distance]))
      stmts.push(store(buffer, [place], value))
    }
  }
  return stmts
}

/** The number of groups of 16 in block `block` of a reduction over `extent` elements. */
export function groupsInBlock(extent: Index, block: Index, size: number): Index {
  const left = subtractIndex(extent, scaleIndex(block, size))
  return minIndex(ceilDivide(left, partials), size / partials)
}

/**
 * How a loop over 16 slots runs: as vectors of `lanes` where its stores go to neighbours, otherwise as 16 copies, since
 * registers need constant places.
 */
export function slotDirectives(body: readonly Stmt[], slot: string, lanes: number): Directive[] {
  if (!runsAsLanes(body, slot)) return [{ do: 'bind', loop: slot, binding: 'unroll' }]
  if (lanes >= partials) return [{ do: 'bind', loop: slot, binding: 'lane' }]
  const outer = `${slot}u`
  const inner = `${slot}v`
  return [
    { do: 'split', loop: slot, factor: lanes, outer, inner },
    { do: 'bind', loop: outer, binding: 'unroll' },
    { do: 'bind', loop: inner, binding: 'lane' },
  ]
}

/** Whether iterations of a loop may become lanes: what they store are neighbours, and what a guard leaves out is not read. */
export function runsAsLanes(body: readonly Stmt[], name: string): boolean {
  let fits = true
  let guardedAlong = false
  const loads: Index[] = []
  visitStmts(body, (stmt) => {
    if (stmt.kind === 'if')
      guardedAlong ||= stmt.conditions.some(
        ({ left, right }) => indexMentions(left, name) || indexMentions(right, name),
      )
    if (stmt.kind !== 'store' && stmt.kind !== 'let') return
    if (stmt.kind === 'store') {
      const last = stmt.indices.length - 1
      fits &&= last >= 0 && stmt.indices.every((index, place) => strideOf(index, name) === (place === last ? 1 : 0))
    }
    visitExprs(stmt.value, (expr) => {
      if (expr.kind === 'load') loads.push(...expr.indices)
    })
  })
  // A lane that the guard leaves out would still load its own index.
  return fits && !(guardedAlong && loads.some((index) => isLoadedAlong(index, name)))
}

/** Whether an index is itself loaded at a place that moves with the variable. */
function isLoadedAlong(index: Index, name: string): boolean {
  return index.terms.some(({ atom }) => {
    if (atom.kind === 'value') return exprMentions(atom.value, name)
    if (atom.kind === 'div' || atom.kind === 'mod') return isLoadedAlong(atom.value, name)
    return atom.kind === 'min' && (isLoadedAlong(atom.left, name) || isLoadedAlong(atom.right, name))
  })
}
