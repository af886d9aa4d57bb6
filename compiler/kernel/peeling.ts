// The directive `peel`: a loop becomes whole groups of iterations, which may then be unrolled, and a loop over what is left.
// `split` guards every leaf instead, which an inner loop would pay for in each of its steps.

import { InternalError } from '../diagnostic.ts'
import type { PeelDirective } from './directives.ts'
import { addIndex, constantIndex, constantOf, divideIndex, moduloIndex, scaleIndex, variable } from './index.ts'
import type { Index } from './index.ts'
import type { Kernel, Stmt } from './ir.ts'
import { hasLoop, isLoop, mapBlocks, mapStmt, substitution, withBody } from './rewrite.ts'

/**
 * loop i < n → loop outer < n div factor { loop inner < factor }, then loop rest < n mod factor: the order of iterations stays.
 * Either part is left out where a constant extent leaves it empty. InternalError where there is no such loop.
 */
export function peel(kernel: Kernel, { loop, factor, outer, inner, rest }: PeelDirective): Kernel {
  if (!hasLoop(kernel.body, loop)) {
    throw new InternalError(`kernel ${kernel.name}: cannot peel ${loop}: there is no such loop`)
  }
  const change = (stmt: Stmt): Stmt[] => {
    if (!isLoop(stmt, loop)) return [stmt]
    const body = (place: Index): Stmt[] => {
      const within = new Map([[inner, { low: 0, high: factor - 1 }]])
      return stmt.body.map((part) => mapStmt(part, substitution(new Map([[loop, place]]), within)))
    }
    const groups = divideIndex(stmt.extent, factor)
    const left = moduloIndex(stmt.extent, factor)
    const first = addIndex(scaleIndex(variable(outer), factor), variable(inner))
    const whole: Stmt = {
      ...stmt,
      variable: outer,
      extent: groups,
      body: [{ kind: 'for', variable: inner, extent: constantIndex(factor), binding: stmt.binding, body: body(first) }],
    }
    const last = addIndex(scaleIndex(groups, factor), variable(rest))
    const remaining: Stmt = { ...stmt, variable: rest, extent: left, body: body(last) }
    return [...(constantOf(groups) === 0 ? [] : [whole]), ...(constantOf(left) === 0 ? [] : [remaining])]
  }
  return withBody(kernel, mapBlocks(kernel.body, change))
}
