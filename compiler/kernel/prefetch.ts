// The directive `prefetch`: while a chain runs over the block of an operand that is packed, lines of the block behind it are
// called into the cache, a few with every group of steps. It changes no value; memory that is slow to answer is asked early.

import { InternalError } from '../diagnostic.ts'
import { cut } from './cutting.ts'
import {
  addIndex,
  constantIndex,
  divideIndex,
  minIndex,
  moduloIndex,
  scaleIndex,
  upperBound,
  variable,
} from './index.ts'
import type { Index, Range } from './index.ts'
import type { Condition, Kernel, Loop, Stmt } from './ir.ts'
import { printCondition, printIndex } from './print.ts'
import { substitution, withBody } from './rewrite.ts'

/** One way to find a line of the block behind, and when it is the one. */
export interface PrefetchedPlace {
  readonly conditions: readonly Condition[]
  /** In the loops around, `rowVariable` and `lineVariable`. */
  readonly indices: readonly Index[]
}

/** Lines of one buffer: `rows` times `lines` of them. */
export interface PrefetchedLines {
  readonly buffer: string
  readonly places: readonly PrefetchedPlace[]
  readonly rows: number
  readonly lines: number
  /** Loops around the chain that share the lines. */
  readonly share: readonly string[]
}

export interface PrefetchDirective {
  readonly do: 'prefetch'
  /** The loop whose steps go by groups of so many. */
  readonly chain: string
  readonly group: number
  readonly of: readonly PrefetchedLines[]
}

/** Names of the variables that the indices of places are in. */
export const rowVariable = 'prefetch_row'
export const lineVariable = 'prefetch_line'

/** Lines that one group calls for at most: a processor waits for about ten at a time. */
const mostTogether = 8

export function printPrefetch({ chain, group, of }: PrefetchDirective): string {
  const printed = of.map(({ buffer, places, rows, lines, share }) => {
    const each = places.map(({ conditions, indices }) => {
      const when = conditions.length === 0 ? '' : ` where ${conditions.map(printCondition).join(' and ')}`
      return `${buffer}[${indices.map(printIndex).join(', ')}]${when}`
    })
    return `${rows}x${lines} of ${each.join(' or ')} in ${share.join(' ')}`
  })
  return `prefetch by ${group} ${chain}: ${printed.join('; ')}`
}

/** Applies a `prefetch`. InternalError where a loop is missing or has no bound. */
export function prefetch(kernel: Kernel, directive: PrefetchDirective): Kernel {
  const { chain, group, of } = directive
  const bounds = new Map(kernel.sizes.map((size): [string, Range] => [size.name, { low: 1, high: size.bound }]))
  const refuse = (reason: string): never => {
    throw new InternalError(`kernel ${kernel.name}: cannot prefetch in ${chain}: ${reason}`)
  }
  const boundOf = (loop: Loop): number => upperBound(loop.extent, bounds) ?? refuse(`'${loop.variable}' has no bound`)
  const outer = `${chain}g`
  let found = false

  /** The calls of one group for one buffer. */
  const calls = (
    { buffer, places, rows, lines, share }: PrefetchedLines,
    groups: number,
    around: readonly Loop[],
  ): Stmt => {
    const sharing = share.map(
      (name) => around.find((candidate) => candidate.variable === name) ?? refuse(`'${name}' is not around it`),
    )
    const each = `${buffer}_ahead`
    const slots = sharing.reduce((product, one) => product * boundOf(one), groups)
    const together = Math.min(mostTogether, Math.ceil((rows * lines) / slots))
    const turn = sharing.reduce<Index>(
      (sum, one) => addIndex(scaleIndex(sum, boundOf(one)), variable(one.variable)),
      constantIndex(0),
    )
    const slot = addIndex(scaleIndex(turn, groups), variable(outer))
    const flat = addIndex(scaleIndex(slot, together), variable(each))
    const place = substitution(
      new Map([
        [rowVariable, minIndex(divideIndex(flat, lines), rows - 1)],
        [lineVariable, moduloIndex(flat, lines)],
      ]),
    )
    const body = places.map(({ conditions, indices }): Stmt => {
      const call: Stmt = { kind: 'prefetch', buffer, indices: indices.map((index) => place.index?.(index) ?? index) }
      return conditions.length === 0 ? call : { kind: 'if', conditions, body: [call] }
    })
    return { kind: 'for', variable: each, extent: constantIndex(together), binding: 'unroll', body }
  }
  const grouped = (loop: Loop, around: readonly Loop[]): Stmt => {
    found = true
    const groups = Math.ceil(boundOf(loop) / group)
    const { count, extent, body } = cut(loop, group, outer, chain)
    const steps: Stmt = { ...loop, extent, body }
    const called = of.map((one) => calls(one, groups, around))
    return { kind: 'for', variable: outer, extent: count, binding: 'serial', body: [...called, steps] }
  }
  const walk = (body: readonly Stmt[], around: readonly Loop[]): Stmt[] =>
    body.map((stmt) => {
      if (stmt.kind === 'for') {
        if (stmt.variable === chain) return grouped(stmt, around)
        return { ...stmt, body: walk(stmt.body, [...around, stmt]) }
      }
      return stmt.kind === 'if' ? { ...stmt, body: walk(stmt.body, around) } : stmt
    })
  const body = walk(kernel.body, [])
  if (!found) refuse('there is no such loop')
  return withBody(kernel, body)
}
