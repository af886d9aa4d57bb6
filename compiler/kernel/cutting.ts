// A loop cut into pieces of so many iterations: what `split`, `chain` and `prefetch` share.

import { addIndex, ceilDivide, constantIndex, minIndex, scaleIndex, subtractIndex, variable } from './index.ts'
import type { Index } from './index.ts'
import type { Loop, Stmt } from './ir.ts'
import { mapStmt, substitution } from './rewrite.ts'

export interface Cut {
  /** How many pieces there are. */
  readonly count: Index
  /** The iteration of the loop that was cut: outer · factor + inner. */
  readonly place: Index
  /** Whether all pieces are whole, whatever run-time extents are. */
  readonly divides: boolean
  /** Iterations of the piece at hand: fewer in the last one. */
  readonly extent: Index
  /** The loop's body at `place`. */
  readonly body: readonly Stmt[]
}

/** Iterations keep their order. `inner` may be the loop's own name. */
export function cut(loop: Loop, factor: number, outer: string, inner: string): Cut {
  const first = scaleIndex(variable(outer), factor)
  const place = addIndex(first, variable(inner))
  const within = new Map([[inner, { low: 0, high: factor - 1 }]])
  const moved = substitution(new Map([[loop.variable, place]]), within)
  const divides = [loop.extent.constant, ...loop.extent.terms.map((term) => term.scale)].every((n) => n % factor === 0)
  return {
    count: ceilDivide(loop.extent, factor),
    place,
    divides,
    extent: divides ? constantIndex(factor) : minIndex(factor, subtractIndex(loop.extent, first)),
    body: loop.body.map((part) => mapStmt(part, moved)),
  }
}
