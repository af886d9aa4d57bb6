// The directive `chain`: a long chain of multiply-adds goes by pieces, so that what a piece reads of the staged operand
// stays in a cache. Between pieces the accumulator waits in scratch; every element keeps its one chain in its order.

import { InternalError } from '../diagnostic.ts'
import { cut } from './cutting.ts'
import { addIndex, constantOf, upperBound, variable } from './index.ts'
import type { Index, Range } from './index.ts'
import { denseDims } from './ir.ts'
import type { Buffer, Kernel, Loop, Stmt } from './ir.ts'
import { isLoop, mapBlocks, withBody } from './rewrite.ts'

/**
 * for k { acc = fma(…) } → for outer { acc = first piece ? start : into[order]; for inner { … }; into[order] = acc } with
 * what follows the chain behind the last piece. Loops of one iteration may stand between. `order` names the loops around, each a dimension of the scratch `into`.
 */
export interface ChainDirective {
  readonly do: 'chain'
  readonly loop: string
  readonly factor: number
  readonly outer: string
  readonly inner: string
  readonly accumulator: string
  readonly into: string
  readonly order: readonly string[]
}

export function printChain({ loop, factor, outer, inner, accumulator, into, order }: ChainDirective): string {
  return `chain ${loop} ${factor} -> ${outer} ${inner} keeping ${accumulator} in ${into}[${order.join(' ')}]`
}

/** The loop of that name, where a statement is it or loops of one iteration around it. */
function linked(stmt: Stmt, loop: string): Loop | undefined {
  if (stmt.kind !== 'for' || stmt.variable === loop) return stmt.kind === 'for' ? stmt : undefined
  const [only] = stmt.body
  return constantOf(stmt.extent) === 1 && stmt.body.length === 1 && only !== undefined ? linked(only, loop) : undefined
}

const guarded = (left: Index | number, right: Index | number, body: readonly Stmt[]): Stmt => {
  return { kind: 'if', conditions: [{ left: addIndex(left), right: addIndex(right) }], body }
}

/** A block that holds a chain's loop. */
interface Links {
  readonly before: readonly Stmt[]
  /** The loop, with those of one iteration around it. */
  readonly links: Stmt
  readonly whole: Loop
  readonly after: readonly Stmt[]
}

/** Applies a `chain`. InternalError where there is no such loop, or an order's loop is not around it or has no bound. */
export function chain(kernel: Kernel, directive: ChainDirective): Kernel {
  const { loop, factor, outer, inner, accumulator, into, order } = directive
  const refuse = (reason: string): never => {
    throw new InternalError(`kernel ${kernel.name}: cannot chain ${loop}: ${reason}`)
  }
  const bounds = new Map(kernel.sizes.map((size): [string, Range] => [size.name, { low: 1, high: size.bound }]))
  let kept: Buffer | undefined
  const pieces = ({ before, links, whole, after }: Links, around: readonly Loop[]): Stmt => {
    const sizes = order.map((name) => {
      const found = around.find((candidate) => candidate.variable === name)
      return found
        ? (upperBound(found.extent, bounds) ?? refuse(`'${name}' has no bound`))
        : refuse(`'${name}' is not around it`)
    })
    kept = { name: into, dtype: 'f32', space: 'scratch', dims: denseDims(sizes) }
    const { count, extent, body: steps } = cut(whole, factor, outer, inner)
    const indices = order.map((name) => variable(name))
    const waiting = { kind: 'load', buffer: into, indices, type: 'f32', lanes: 1 } as const
    const sum = { kind: 'load', buffer: accumulator, indices: [], type: 'f32', lanes: 1 } as const
    // What lies beyond an edge has no start.
    const [start] = before
    const inside = (stmts: readonly Stmt[]): readonly Stmt[] =>
      start?.kind === 'if' ? [{ ...start, body: stmts }] : stmts
    const piece: Stmt[] = [
      guarded(variable(outer), 1, before),
      guarded(
        0,
        variable(outer),
        inside([{ kind: 'store', buffer: accumulator, indices: [], value: waiting, lanes: 1 }]),
      ),
      ...mapBlocks([links], (stmt) =>
        isLoop(stmt, loop) ? [{ ...stmt, variable: inner, extent, body: steps }] : [stmt],
      ),
      guarded(
        addIndex(variable(outer), 1),
        count,
        inside([{ kind: 'store', buffer: into, indices, value: sum, lanes: 1 }]),
      ),
      guarded(addIndex(count, -2), variable(outer), after),
    ]
    return { kind: 'for', variable: outer, extent: count, binding: 'serial', body: piece }
  }
  const walk = (body: readonly Stmt[], around: readonly Loop[]): Stmt[] => {
    for (const [place, links] of body.entries()) {
      const whole = linked(links, loop)
      if (whole) return [pieces({ before: body.slice(0, place), links, whole, after: body.slice(place + 1) }, around)]
    }
    return body.map((stmt) => {
      if (stmt.kind === 'for') return { ...stmt, body: walk(stmt.body, [...around, stmt]) }
      return stmt.kind === 'if' ? { ...stmt, body: walk(stmt.body, around) } : stmt
    })
  }
  const body = walk(kernel.body, [])
  if (!kept) return refuse('there is no such loop')
  return { ...withBody(kernel, body), locals: [...kernel.locals, kept] }
}
