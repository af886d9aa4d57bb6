// Small pieces that every lowering puts its loops together from.

import type { Axis } from '../graph/axis.ts'
import type { Binding, Condition, Expr, Stmt } from '../kernel/ir.ts'
import { asIndex, ceilDivide, minIndex, scaleIndex, subtractIndex, variable } from '../kernel/index.ts'
import type { Index } from '../kernel/index.ts'
import { rangeOf } from '../kernel/index.ts'
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

export function localValue(name: string): Expr {
  return { kind: 'local', name, type: 'f32', lanes: 1 }
}

/** Declares a loop variable and tells the scope its range. */
export function declareLoop(scope: KernelScope, prefix: string, extent: Index | number): { name: string; index: Index } {
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
