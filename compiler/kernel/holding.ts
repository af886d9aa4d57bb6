// The directive `hold`: the broadcast operand of a multiply-add is loaded into vector registers, several neighbours at a
// time, and the multiply-add takes one lane of them. Which instruction that is, or whether there is one, a backend knows.

import { InternalError } from '../diagnostic.ts'
import type { HoldDirective } from './directives.ts'
import {
  addIndex,
  constantIndex,
  constantOf,
  exprMentions,
  indexMentions,
  scaleIndex,
  strideOf,
  subtractIndex,
  variable,
} from './index.ts'
import type { Index } from './index.ts'
import { denseDims } from './ir.ts'
import type { Buffer, Condition, Expr, Kernel, Loop, Stmt } from './ir.ts'
import { isLoop, mapBlocks, mapExpr, substitution } from './rewrite.ts'
import { findOperand, isMultiplyAdd } from './staging.ts'

function refuse(kernel: Kernel, { accumulator, operand, at }: HoldDirective, reason: string): never {
  throw new InternalError(`kernel ${kernel.name}: cannot hold ${accumulator}.${operand} at ${at}: ${reason}`)
}

/**
 * Applies a `hold`. Where `unguard` clamped the operand's places along the last loop of `order`, neighbours are neighbours
 * only in a tile that lies inside as a whole: another one runs the loop as it was. InternalError where the operand varies
 * along another loop, or the last of `order` is not counted in whole vectors.
 */
export function hold(kernel: Kernel, directive: HoldDirective): Kernel {
  const { into, operand, accumulator, at, order, lanes } = directive
  let held: Buffer | undefined
  const body = mapBlocks(kernel.body, (stmt) => {
    if (!isLoop(stmt, at)) return [stmt]
    const found = findOperand(stmt.body, accumulator, operand)
    if (!found) return [stmt]
    const loops = order.map((name) => {
      const loop = found.loops.find(({ variable: candidate }) => candidate === name)
      return loop ?? refuse(kernel, directive, `'${name}' is not a loop inside '${at}'`)
    })
    if (found.loops.some(({ variable: name }) => !order.includes(name) && exprMentions(found.expr, name))) {
      refuse(kernel, directive, 'the operand also varies along another loop')
    }
    if (found.conditions.length > 0) refuse(kernel, directive, 'it is guarded')
    const sizes = loops.map(
      ({ variable: name, extent }) => constantOf(extent) ?? refuse(kernel, directive, `'${name}' is not constant`),
    )
    const along = loops.at(-1) as Loop
    const width = sizes.at(-1) as number
    if (width % lanes !== 0) refuse(kernel, directive, `'${along.variable}' is not counted in vectors of ${lanes}`)
    held = { name: into, dtype: 'f32', space: 'register', dims: denseDims(sizes) }

    const whole: Condition[] = []
    const value = mapExpr(found.expr, { index: (index) => unclamped(index, along.variable, width, whole) })
    const copies = copyLoops({ into, value, order, sizes, lanes })
    const part: Expr = { kind: 'load', buffer: into, indices: order.map(variable), type: 'f32', lanes: 1 }
    const taking = mapBlocks(stmt.body, (inner) => {
      if (inner.kind !== 'store' || inner.buffer !== accumulator || !isMultiplyAdd(inner.value)) return [inner]
      const args = inner.value.args.map((arg, place) => (place === operand ? part : arg))
      return [{ ...inner, value: { ...inner.value, args } }]
    })
    const fast: Stmt = { ...stmt, body: [copies, ...taking] }
    if (whole.length === 0) return [fast]
    // Exactly one failing prefix holds where not all do.
    const others = whole.map(({ left, right }, place): Stmt => ({
      kind: 'if',
      conditions: [...whole.slice(0, place), { left: addIndex(right, -1), right: left }],
      body: [stmt],
    }))
    return [{ kind: 'if', conditions: whole, body: [fast] }, ...others]
  })
  if (!held) refuse(kernel, directive, 'there is no such multiply-add')
  return { ...kernel, locals: [...kernel.locals, held], body }
}

/** The index without minimums along a loop, and the conditions under which it is the same. */
function unclamped(index: Index, along: string, extent: number, conditions: Condition[]): Index {
  const parts = index.terms.map(({ scale, atom }): Index => {
    const same: Index = { constant: 0, terms: [{ scale, atom }] }
    if (atom.kind !== 'min' || !indexMentions(same, along)) return same
    const [moving, limit] = indexMentions(atom.left, along) ? [atom.left, atom.right] : [atom.right, atom.left]
    const slope = strideOf(moving, along)
    if (slope === undefined || indexMentions(limit, along)) return same
    const worst = substitution(new Map([[along, constantIndex(slope > 0 ? extent - 1 : 0)]]))
    const condition = { left: worst.index?.(moving) ?? moving, right: addIndex(limit, 1) }
    const isKnown = conditions.some(({ left, right }) => {
      return constantOf(subtractIndex(subtractIndex(left, right), subtractIndex(condition.left, condition.right))) === 0
    })
    if (!isKnown) conditions.push(condition)
    return scaleIndex(moving, scale)
  })
  return addIndex(index.constant, ...parts)
}

interface Copies {
  readonly into: string
  readonly value: Expr
  readonly order: readonly string[]
  readonly sizes: readonly number[]
  readonly lanes: number
}

/** All places of the register buffer, each loop unrolled, the last one in vectors. */
function copyLoops({ into, value, order, sizes, lanes }: Copies): Stmt {
  const own = (name: string): string => `${into}_${name}`
  const along = order.at(-1) as string
  const lane = `${into}_lane`
  const vectors = (sizes.at(-1) as number) / lanes
  // A single vector needs no loop of its own.
  const first = vectors === 1 ? constantIndex(0) : scaleIndex(variable(own(along)), lanes)
  const places = order.map((name) => (name === along ? addIndex(first, variable(lane)) : variable(own(name))))
  const moved = mapExpr(value, substitution(new Map(order.map((name, place) => [name, places[place] as Index]))))
  const loop = (name: string, extent: number, binding: Loop['binding'], body: Stmt): Stmt => {
    return { kind: 'for', variable: name, extent: constantIndex(extent), binding, body: [body] }
  }
  const store: Stmt = { kind: 'store', buffer: into, indices: places, value: moved, lanes: 1 }
  const vector = loop(lane, lanes, 'lane', store)
  const row = vectors === 1 ? vector : loop(own(along), vectors, 'unroll', vector)
  return order
    .slice(0, -1)
    .reduceRight<Stmt>((rest, name, place) => loop(own(name), sizes[place] as number, 'unroll', rest), row)
}
