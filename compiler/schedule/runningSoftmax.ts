// One step of a softmax that takes its scores in blocks, and rescales once a block: Milakov and Gimelshein 2018. Streamed
// and stored scores go through the same statements, hence the same bits. Knows no graph node.

import * as math from '../graph/math.ts'
import type { Index } from '../kernel/index.ts'
import type { LoopPart } from '../kernel/trimming.ts'
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
  /** Outside of them scores are masked; all of them unless given. */
  readonly within?: LoopPart | undefined
  /** Where exp(score − largest) goes. */
  readonly weight: (place: Index) => Element
  /** Largest score so far and Σ exp(score − largest), of the row. */
  readonly largest: Element
  readonly total: Element
  /** Of this block: the largest score with those before, and what sums over earlier blocks are multiplied by. */
  readonly greatest: Element
  readonly factor: Element
}

export const valueOf = ({ buffer, indices }: Element): Expr => load(buffer, indices)
const assign = ({ buffer, indices }: Element, value: Expr): Stmt => store(buffer, indices, value)

/** Before the first block. */
export function startSoftmax({ largest, total }: Pick<SoftmaxBlock, 'largest' | 'total'>): Stmt[] {
  return [assign(largest, exprScalars.float(maskedScore)), assign(total, exprScalars.float(0))]
}

/** What takes one block, for one row in turn; a kernel may take all of its rows through a part before it goes on to the next. */
export interface BlockSteps {
  /** Scores to where their weights will be; the largest of them and of those before to `greatest`. */
  maximum(): Stmt[]
  /** What every sum over earlier blocks has to be multiplied by to `factor`; `largest` is that of this block as well. */
  rescale(): Stmt
  /** Weights in the place of their scores, and their sum to the others'. */
  weigh(): Stmt[]
}

export function takeBlock(construction: Construction, block: SoftmaxBlock): BlockSteps {
  const { count, bound, largest, total, greatest, factor } = block
  const name = (prefix: string): string => construction.scope.fresh(prefix)
  return {
    maximum: () => {
      const { stmts, results } = reduce(
        construction,
        count,
        bound,
        [{ word: 'max', start: maskedScore }],
        (place, take) => {
          const score = block.score(place)
          return [assign(block.weight(place), score), take(0, score)]
        },
        block.within,
      )
      return [...stmts, assign(greatest, exprScalars.max(results[0] as Expr, valueOf(largest)))]
    },
    rescale: () => {
      const scale = math.exp(exprScalars, exprScalars.sub(valueOf(largest), valueOf(greatest)))
      return storeBlock([assign(factor, scale), assign(largest, valueOf(greatest))], name)
    },
    weigh: () => {
      const most = name('nm')
      const { stmts, results } = reduce(
        construction,
        count,
        bound,
        [{ word: 'add', start: 0 }],
        (place, take) => {
          const weight = math.exp(exprScalars, exprScalars.sub(valueOf(block.weight(place)), localValue(most)))
          return [assign(block.weight(place), weight), take(0, weight)]
        },
        block.within,
      )
      return [
        { kind: 'let', name: most, value: valueOf(largest) },
        ...stmts,
        assign(total, exprScalars.fma(valueOf(total), valueOf(factor), results[0] as Expr)),
      ]
    },
  }
}

/** The logarithm of the sum of exponentials, after the last block. */
export function logOfSum({ largest, total }: Pick<SoftmaxBlock, 'largest' | 'total'>): Expr {
  return exprScalars.add(valueOf(largest), math.log(exprScalars, valueOf(total)))
}
