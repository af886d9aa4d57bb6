// Reductions along a row in the order that the numeric contract fixes: 16 partial results, one tree, blocks of 4,096.
// Knows loops and values, nothing of regions or graph nodes.

import type { Directive } from '../kernel/directives.ts'
import type { LoopPart } from '../kernel/trimming.ts'
import { addIndex, ceilDivide, constantOf, moduloIndex, scaleIndex } from '../kernel/index.ts'
import type { Index } from '../kernel/index.ts'
import type { Expr, Stmt } from '../kernel/ir.ts'
import { declareLoop, groupsInBlock, guarded, load, localValue, loop, partials, reductionBlock, scratchTree, slotDirectives, store } from './nest.ts' // prettier-ignore
import { exprScalars, storeBlock } from './scalars.ts'
import type { KernelScope } from './scope.ts'

/** What a kernel under construction collects. */
export interface Construction {
  readonly scope: KernelScope
  readonly directives: Directive[]
  readonly lanes: number
}

export interface Reduction {
  readonly word: 'add' | 'max'
  /** What partial results begin with. */
  readonly start: number
}

/** for groups of 16 { for the 16 { leaf } }, the 16 in vectors; `base` is where the groups begin, `within` those outside of which no element matters. */
export function walkGroups(
  { scope, directives, lanes }: Construction,
  extent: Index,
  base: Index | undefined,
  groups: Index,
  leaf: (place: Index, slot: Index) => Stmt,
  within?: LoopPart,
): Stmt[] {
  const group = declareLoop(scope, 'o', groups)
  const slot = declareLoop(scope, 'j', partials)
  const place = addIndex(base ?? 0, scaleIndex(group.index, partials), slot.index)
  const fixed = constantOf(extent)
  const whole = fixed !== undefined && fixed % partials === 0
  const inside = guarded(whole ? [] : [{ left: place, right: extent }], [leaf(place, slot.index)])
  directives.push(...slotDirectives(inside, slot.name, lanes))
  if (within) directives.push({ do: 'trim', loop: group.name, ...within })
  return [loop(group.name, groups, [loop(slot.name, partials, inside)])]
}

/** All 16 elements of a register buffer. */
export function fill({ scope, directives, lanes }: Construction, buffer: string, value: number): Stmt {
  const slot = declareLoop(scope, 'z', partials)
  const body = [store(buffer, [slot.index], exprScalars.float(value))]
  directives.push(...slotDirectives(body, slot.name, lanes))
  return loop(slot.name, partials, body)
}

/**
 * One pass over `extent` elements (at most `bound`), or those of them in the groups `within`, that reduces several values at once. `leaf` gives the stores of one
 * element, with `take(i, value)` among them for each reduction. The results are locals, defined by the statements.
 */
export function reduce(
  construction: Construction,
  extent: Index,
  bound: number,
  reductions: readonly Reduction[],
  leaf: (place: Index, take: (reduction: number, value: Expr) => Stmt) => Stmt[],
  within?: LoopPart,
): { readonly stmts: Stmt[]; readonly results: Expr[] } {
  const { scope } = construction
  const name = (prefix: string): string => scope.fresh(prefix)
  const parts = reductions.map(() => scope.local(name('part'), 'register', [partials]).name)
  const clear = reductions.map(({ start }, index) => fill(construction, parts[index] as string, start))
  const element = (place: Index, slot: Index): Stmt => {
    const take = (index: number, value: Expr): Stmt => {
      const part = parts[index] as string
      return store(part, [slot], joined(reductions[index] as Reduction, load(part, [slot]), value))
    }
    return storeBlock(leaf(place, take), name)
  }
  const trees = (): { stmts: Stmt[]; results: Expr[] } => {
    const locals = reductions.map(() => name('s'))
    return {
      stmts: reductions.map(({ word }, index) => {
        return {
          kind: 'let',
          name: locals[index] as string,
          value: { kind: 'tree', word, buffer: parts[index] as string },
        }
      }),
      results: locals.map((local) => localValue(local)),
    }
  }
  if (bound <= reductionBlock || reductions.length === 0) {
    const walk = walkGroups(construction, extent, undefined, ceilDivide(extent, partials), element, within)
    const { stmts, results } = trees()
    return { stmts: [...clear, ...walk, ...stmts], results }
  }

  const count = ceilDivide(extent, reductionBlock)
  const block = declareLoop(scope, 'b', count)
  const totals = reductions.map(() => scope.local(name('total'), 'scratch', [partials]).name)
  const inBlock = groupsInBlock(extent, block.index, reductionBlock)
  const walk = walkGroups(construction, extent, scaleIndex(block.index, reductionBlock), inBlock, element)
  const blockTrees = trees()
  const slotOfBlock = moduloIndex(block.index, partials)
  const add = reductions.map((reduction, index) => {
    const total = totals[index] as string
    return store(total, [slotOfBlock], joined(reduction, load(total, [slotOfBlock]), blockTrees.results[index] as Expr))
  })
  const before = reductions.flatMap(({ start }, index) =>
    Array.from({ length: partials }, (_, place) => store(totals[index] as string, [place], exprScalars.float(start))),
  )
  const locals = reductions.map(() => name('s'))
  const after = reductions.flatMap(({ word }, index): Stmt[] => {
    const total = totals[index] as string
    return [...scratchTree(total, word), { kind: 'let', name: locals[index] as string, value: load(total, [0]) }]
  })
  return {
    stmts: [...before, loop(block.name, count, [...clear, ...walk, ...blockTrees.stmts, ...add]), ...after],
    results: locals.map((local) => localValue(local)),
  }
}

/** A partial result takes an element; a largest one passes over NaN among the elements. */
function joined({ word }: Reduction, partial: Expr, element: Expr): Expr {
  return word === 'add' ? exprScalars.add(partial, element) : exprScalars.max(element, partial)
}
