// Directives for GPUs: like those of `directives.ts`, each rewrites a nest into an equal one, checked by running it
// before and after. They hand loops to the invocations of a workgroup and stage operands in the memory these share.
// They must not know a shading language.

import { InternalError } from '../diagnostic.ts'
import {
  addIndex,
  ceilDivide,
  constantOf,
  exprMentions,
  indexMentions,
  minIndex,
  scaleIndex,
  subtractIndex,
  variable,
} from './index.ts'
import type { Buffer, Condition, Expr, Kernel, Loop, Stmt } from './ir.ts'
import { applyDirective, printDirective } from './directives.ts'
import type { Directive } from './directives.ts'
import { cooperate } from './gpuCooperate.ts'
import type { Cooperate } from './gpuCooperate.ts'
import { hasLoop, isLoop, mapBlocks, mapExpr, mapStmt, substitution, withBody } from './rewrite.ts'

/** A grid or serial loop → outer · factor + inner, inner for invocations, one guard around what is below. */
export interface Spread {
  readonly do: 'spread'
  readonly loop: string
  readonly factor: number
  readonly outer: string
  readonly inner: string
  readonly binding: 'grid' | 'serial'
}

/** A serial loop → blocks of `factor` whose last one is shorter: the order of its steps stays, and nothing is guarded. */
export interface Block {
  readonly do: 'block'
  readonly loop: string
  readonly factor: number
  readonly outer: string
  readonly inner: string
}

/**
 * Stages an operand of the multiply-add in workgroup memory at the start of each run of loop `at`. The invocations
 * copy it together: `own` are the loops along the operand's free direction, an unrolled one and a local one; the
 * chain's loop `chain` inside `at` is taken by the other local loop, `other`.
 */
export interface Share {
  readonly do: 'share'
  readonly into: string
  readonly accumulator: string
  readonly operand: 0 | 1
  readonly at: string
  readonly own: { readonly outer: string; readonly local: string }
  readonly chain: string
  readonly other: string
  /** Which direction is innermost in the staged copy. */
  readonly fast: 'own' | 'chain'
}

export type GpuDirective = Directive | Spread | Block | Share | Cooperate

export function applyGpuDirectives(kernel: Kernel, directives: readonly GpuDirective[]): Kernel {
  return directives.reduce(applyGpuDirective, kernel)
}

export function applyGpuDirective(kernel: Kernel, directive: GpuDirective): Kernel {
  switch (directive.do) {
    case 'spread':
      return spread(kernel, directive)
    case 'block':
      return block(kernel, directive)
    case 'share':
      return share(kernel, directive)
    case 'cooperate':
      return cooperate(kernel, directive)
    default:
      return applyDirective(kernel, directive)
  }
}

export function printGpuDirective(directive: GpuDirective): string {
  switch (directive.do) {
    case 'spread':
      return `spread ${directive.loop} ${directive.factor} -> ${directive.binding} ${directive.outer} ${directive.inner}`
    case 'block':
      return `block ${directive.loop} ${directive.factor} -> ${directive.outer} ${directive.inner}`
    case 'share':
      return `share ${directive.accumulator}.${directive.operand} at ${directive.at} as ${directive.into} by ${directive.own.outer} ${directive.own.local} and ${directive.chain} on ${directive.other}, ${directive.fast} fast`
    case 'cooperate': {
      const { rows } = directive
      const shared = rows ? ` rows ${rows.loops.join(' ')} -> ${rows.outer} ${rows.size} ${rows.inner}` : ''
      const strided = directive.strided.length > 0 ? ` strided ${directive.strided.join(' ')}` : ''
      return `cooperate slots ${directive.slots.join(' ')} -> ${directive.column} ${directive.columns}${strided}${shared}`
    }
    default:
      return printDirective(directive)
  }
}

function refuse(kernel: Kernel, directive: GpuDirective, reason: string): never {
  throw new InternalError(`kernel ${kernel.name}: cannot ${printGpuDirective(directive)}: ${reason}`)
}

/** Puts a guard below the loops that are perfectly nested, so that these stay so. */
function guardInside(body: readonly Stmt[], condition: Condition): Stmt[] {
  const [only] = body
  if (body.length === 1 && only?.kind === 'for') return [{ ...only, body: guardInside(only.body, condition) }]
  return [{ kind: 'if', conditions: [condition], body }]
}

function divides(loop: Loop, factor: number): boolean {
  return [loop.extent.constant, ...loop.extent.terms.map((term) => term.scale)].every((n) => n % factor === 0)
}

function spread(kernel: Kernel, directive: Spread): Kernel {
  const { loop: name, factor, outer, inner, binding } = directive
  if (!hasLoop(kernel.body, name)) refuse(kernel, directive, 'there is no such loop')
  const place = addIndex(scaleIndex(variable(outer), factor), variable(inner))
  const rewriter = substitution(new Map([[name, place]]), new Map([[inner, { low: 0, high: factor - 1 }]]))
  const change = (stmt: Stmt): Stmt[] => {
    if (!isLoop(stmt, name)) return [stmt]
    const body = stmt.body.map((part) => mapStmt(part, rewriter))
    const guarded = divides(stmt, factor) ? body : guardInside(body, { left: place, right: stmt.extent })
    const local: Stmt = {
      kind: 'for',
      variable: inner,
      extent: { constant: factor, terms: [] },
      binding: 'local',
      body: guarded,
    }
    return [{ ...stmt, variable: outer, extent: ceilDivide(stmt.extent, factor), binding, body: [local] }]
  }
  return withBody(kernel, mapBlocks(kernel.body, change))
}

function block(kernel: Kernel, directive: Block): Kernel {
  const { loop: name, factor, outer, inner } = directive
  if (!hasLoop(kernel.body, name)) refuse(kernel, directive, 'there is no such loop')
  const place = addIndex(scaleIndex(variable(outer), factor), variable(inner))
  const rewriter = substitution(new Map([[name, place]]), new Map([[inner, { low: 0, high: factor - 1 }]]))
  const change = (stmt: Stmt): Stmt[] => {
    if (!isLoop(stmt, name)) return [stmt]
    const body = stmt.body.map((part) => mapStmt(part, rewriter))
    const rest = subtractIndex(stmt.extent, scaleIndex(variable(outer), factor))
    const extent = divides(stmt, factor) ? { constant: factor, terms: [] } : minIndex(factor, rest)
    return [
      {
        ...stmt,
        variable: outer,
        extent: ceilDivide(stmt.extent, factor),
        body: [{ ...stmt, variable: inner, extent, body }],
      },
    ]
  }
  return withBody(kernel, mapBlocks(kernel.body, change))
}

interface Found {
  readonly expr: Expr
  readonly conditions: readonly Condition[]
  readonly loops: readonly Loop[]
}

/** The multiply-add into `accumulator`, with the guards and loops around it. */
function findMultiplyAdd(body: readonly Stmt[], accumulator: string, operand: 0 | 1): Found | undefined {
  let found: Found | undefined
  const walk = (stmts: readonly Stmt[], conditions: readonly Condition[], loops: readonly Loop[]): void => {
    for (const stmt of stmts) {
      if (stmt.kind === 'for') walk(stmt.body, conditions, [...loops, stmt])
      else if (stmt.kind === 'if') walk(stmt.body, [...conditions, ...stmt.conditions], loops)
      else if (isMultiplyAdd(stmt, accumulator)) {
        const expr = stmt.value.args[operand]
        if (expr) found = { expr, conditions, loops }
      }
    }
  }
  walk(body, [], [])
  return found
}

type MultiplyAdd = Extract<Stmt, { kind: 'store' }> & { readonly value: Extract<Expr, { kind: 'apply' }> }

function isMultiplyAdd(stmt: Stmt, accumulator: string): stmt is MultiplyAdd {
  return (
    stmt.kind === 'store' && stmt.buffer === accumulator && stmt.value.kind === 'apply' && stmt.value.word === 'fma'
  )
}

function share(kernel: Kernel, directive: Share): Kernel {
  const { into, accumulator, operand, at, own, chain, other, fast } = directive
  const loops = findMultiplyAdd(kernel.body, accumulator, operand)?.loops ?? []
  const extentOf = (name: string): number => {
    const loop =
      loops.find((candidate) => candidate.variable === name) ??
      refuse(kernel, directive, `'${name}' is not a loop around it`)
    return constantOf(loop.extent) ?? refuse(kernel, directive, `'${name}' has no constant extent`)
  }
  const [copies, locals, others] = [extentOf(own.outer), extentOf(own.local), extentOf(other)]
  const free = copies * locals
  const sizes = fast === 'own' ? [others, free] : [free, others]
  // One element more than a row has, so that neighbours in a column lie in different banks.
  const stride = (sizes[1] as number) + (fast === 'chain' ? 1 : 0)
  const buffer: Buffer = {
    name: into,
    dtype: 'f32',
    space: 'workgroup',
    dims: [
      { size: sizes[0] as number, stride },
      { size: sizes[1] as number, stride: 1 },
    ],
  }
  const places = (outer: string, step: string) => {
    const row = addIndex(scaleIndex(variable(outer), locals), variable(own.local))
    return fast === 'own' ? [variable(step), row] : [row, variable(step)]
  }
  let staged = false
  const body = mapBlocks(kernel.body, (stmt) => {
    const found = isLoop(stmt, at) ? findMultiplyAdd(stmt.body, accumulator, operand) : undefined
    if (!found || !isLoop(stmt)) return [stmt]
    staged = true
    const steps =
      found.loops.find((loop) => loop.variable === chain) ??
      refuse(kernel, directive, `'${chain}' is not inside '${at}'`)
    const inside = new Set(found.loops.map((loop) => loop.variable))
    const allowed = new Set([own.outer, chain])
    for (const name of [...inside, other]) {
      if (!allowed.has(name) && exprMentions(found.expr, name))
        refuse(kernel, directive, `the operand also varies along '${name}'`)
    }
    const copy = `${into}_${own.outer}`
    const rename = substitution(
      new Map([
        [own.outer, variable(copy)],
        [chain, variable(other)],
      ]),
    )
    const about = ({ left, right }: Condition, name: string): boolean =>
      indexMentions(left, name) || indexMentions(right, name)
    const conditions = found.conditions
      .filter((condition) => [own.outer, own.local, chain].some((name) => about(condition, name)))
      .filter((condition) => ![...inside, other].some((name) => !allowed.has(name) && about(condition, name)))
      .map(({ left, right }) => ({ left: rename.index?.(left) ?? left, right: rename.index?.(right) ?? right }))
    const target = { kind: 'store', buffer: into, indices: places(copy, other), lanes: 1 } as const
    const value: Stmt = { ...target, value: mapExpr(found.expr, rename) }
    const zero: Stmt = { ...target, value: { kind: 'constant', type: 'f32', value: 0 } }
    const leaves: Stmt[] =
      conditions.length === 0
        ? [value]
        : [
            { kind: 'if', conditions, body: [value] },
            // Exactly one of these holds where a guard fails: the i-th fails while those before it hold.
            ...conditions.map((condition, index): Stmt => ({
              kind: 'if',
              conditions: [
                ...conditions.slice(0, index),
                { left: addIndex(condition.right, -1), right: condition.left },
              ],
              body: [zero],
            })),
          ]
    const copying: Stmt = {
      kind: 'for',
      variable: copy,
      extent: { constant: copies, terms: [] },
      binding: 'unroll',
      body: [{ kind: 'if', conditions: [{ left: variable(other), right: steps.extent }], body: leaves }],
    }
    const replaced = mapBlocks(stmt.body, (part) => {
      if (!isMultiplyAdd(part, accumulator)) return [part]
      const load: Expr = { kind: 'load', buffer: into, indices: places(own.outer, chain), type: 'f32', lanes: 1 }
      return [
        {
          ...part,
          value: { ...part.value, args: part.value.args.map((arg, index) => (index === operand ? load : arg)) },
        },
      ]
    })
    const met = stmt.body.some((part) => part.kind === 'barrier')
    const barrier: Stmt = { kind: 'barrier' }
    return [{ ...stmt, body: met ? [copying, ...replaced] : [copying, barrier, ...replaced, barrier] }]
  })
  if (!staged) refuse(kernel, directive, 'there is no such multiply-add')
  return { ...kernel, locals: [...kernel.locals, buffer], body }
}
