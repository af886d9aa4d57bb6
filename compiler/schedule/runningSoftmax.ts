// One step of a softmax that takes its scores in blocks, and rescales once a block: Milakov and Gimelshein 2018. Streamed
// and stored scores go through the same statements, hence the same bits. Knows no graph node.

import * as math from '../graph/math.ts'
import type { Index } from '../kernel/index.ts'
import type { Expr, Stmt } from '../kernel/ir.ts'
import { load, localValue, maskedScore, store } from './nest.ts'
import { reduce } from './reduction.ts'
import type { Construction } from './reduction.ts'
import { exprScalars, storeBlock } from './scalars.ts'

/** An element of a scratch buffer. */
export interface Element {
  readonly buffer: string
  readonly indices: readonly Index[]
}

export interface SoftmaxBlock {
  /** Scores in the block, and the most there can be. */
  readonly count: Index
  readonly bound: number
  readonly score: (place: Index) => Expr
  /** Where exp(score − largest) goes. */
  readonly weight: (place: Index) => Element
  /** Largest score so far and Σ exp(score − largest), of the row. */
  readonly largest: Element
  readonly total: Element
}

export const valueOf = ({ buffer, indices }: Element): Expr => load(buffer, indices)
const assign = ({ buffer, indices }: Element, value: Expr): Stmt => store(buffer, indices, value)

/** Before the first block. */
export function startSoftmax({ largest, total }: Pick<SoftmaxBlock, 'largest' | 'total'>): Stmt[] {
  return [assign(largest, exprScalars.float(maskedScore)), assign(total, exprScalars.float(0))]
}

/** Takes one block; `factor` is what every sum over earlier blocks has to be multiplied by. */
export function takeBlock(construction: Construction, block: SoftmaxBlock): { stmts: Stmt[]; factor: Expr } {
  const { count, bound, largest, total } = block
  const name = (prefix: string): string => construction.scope.fresh(prefix)
  const [greatest, factor] = [name('nm'), name('al')]
  const scored = reduce(construction, count, bound, [{ word: 'max', start: maskedScore }], (place, take) => {
    const score = block.score(place)
    return [assign(block.weight(place), score), take(0, score)]
  })
  const weighed = reduce(construction, count, bound, [{ word: 'add', start: 0 }], (place, take) => {
    const weight = math.exp(exprScalars, exprScalars.sub(valueOf(block.weight(place)), localValue(greatest)))
    return [assign(block.weight(place), weight), take(0, weight)]
  })
  const rescale = math.exp(exprScalars, exprScalars.sub(valueOf(largest), localValue(greatest)))
  const stmts: Stmt[] = [
    ...scored.stmts,
    { kind: 'let', name: greatest, value: exprScalars.max(scored.results[0] as Expr, valueOf(largest)) },
    ...named(storeBlock([store('', [], rescale)], name), factor),
    ...weighed.stmts,
    assign(total, exprScalars.fma(valueOf(total), localValue(factor), weighed.results[0] as Expr)),
    assign(largest, localValue(greatest)),
  ]
  return { stmts, factor: localValue(factor) }
}

/** The logarithm of the sum of exponentials, after the last block. */
export function logOfSum({ largest, total }: Pick<SoftmaxBlock, 'largest' | 'total'>): Expr {
  return exprScalars.add(valueOf(largest), math.log(exprScalars, valueOf(total)))
}

/** A block that ends in a placeholder store, as lets of which the last has the given name. */
function named(block: Stmt, name: string): Stmt[] {
  const stmts = block.kind === 'if' ? block.body : [block]
  return stmts.map((stmt) => (stmt.kind === 'store' ? { kind: 'let', name, value: stmt.value } : stmt))
}
