// The directive `trim`: iterations at the ends of a loop are left out, of which whoever asks for it knows that they change
// nothing: multiply-adds with a probability that is zero. Nothing here can check that.

import { InternalError } from '../diagnostic.ts'
import { addIndex, constantOf, minIndex, subtractIndex, variable } from './index.ts'
import type { Index } from './index.ts'
import type { Kernel, Stmt } from './ir.ts'
import { printIndex } from './print.ts'
import { hasLoop, isLoop, mapBlocks, mapStmt, substitution, withBody } from './rewrite.ts'

/** Iterations of a loop: 0 ≤ from, to ≤ their number; none where `to` is not behind `from`. In variables of the loops around. */
export interface LoopPart {
  readonly from: Index
  readonly to: Index
}

/** loop i < n → loop i < to − from at i + from. */
export interface TrimDirective extends LoopPart {
  readonly do: 'trim'
  readonly loop: string
}

export function printTrim({ loop, from, to }: TrimDirective): string {
  return `trim ${loop} from ${printIndex(from)} to ${printIndex(to)}`
}

/** Applies a `trim`. InternalError where there is no such loop. */
export function trim(kernel: Kernel, { loop, from, to }: TrimDirective): Kernel {
  if (!hasLoop(kernel.body, loop))
    throw new InternalError(`kernel ${kernel.name}: cannot trim ${loop}: there is no such loop`)
  const change = (stmt: Stmt): Stmt[] => {
    if (!isLoop(stmt, loop)) return [stmt]
    const moved = substitution(new Map([[loop, addIndex(variable(loop), from)]]))
    // Whoever bounds it sees that it is at most all iterations.
    const extent = constantOf(from) === 0 ? to : minIndex(stmt.extent, subtractIndex(to, from))
    return [{ ...stmt, extent, body: stmt.body.map((part) => mapStmt(part, moved)) }]
  }
  return withBody(kernel, mapBlocks(kernel.body, change))
}
