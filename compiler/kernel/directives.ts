// Schedules as small values: each directive rewrites a loop nest into an equal one. They print, can be stored and
// searched, and every one is checked by running the nest before and after (`test/kernel/directives.test.ts`).
// A directive names loops; several sibling loops may share a name (after `distribute`), and it then means all of them.

import { InternalError } from '../diagnostic.ts'
import type { Binding, Condition, Kernel, Loop, Stmt } from './ir.ts'
import { denseDims } from './ir.ts'
import { hold } from './holding.ts'
import {
  addIndex,
  constantIndex,
  constantOf,
  indexMentions,
  minIndex,
  rangeOf,
  subtractIndex,
  variable,
  variablesOf,
} from './index.ts'
import type { Index, Range } from './index.ts'
import { peel } from './peeling.ts'
import { guardLeaves, hasLoop, isLoop, loadsOf, mapBlocks, mapStmt, visitStmts, withBody } from './rewrite.ts'
import { chain, printChain } from './chain.ts'
import { cut } from './cutting.ts'
import type { ChainDirective } from './chain.ts'
import { phase, printPhase } from './phase.ts'
import type { PhaseDirective } from './phase.ts'
import { prefetch, printPrefetch } from './prefetch.ts'
import type { PrefetchDirective } from './prefetch.ts'
import { stage } from './staging.ts'
import { printTrim, trim } from './trimming.ts'
import type { TrimDirective } from './trimming.ts'

/**
 * Copies an operand of the multiply-add into scratch at the start of loop `at`, one dimension per loop in `order` (all of
 * them inside `at`), zero where guards fail, so that the multiply-add reads neighbours. `fast` names the loop along which
 * the operand is contiguous in memory; `lanes` > 1 copies it by vectors, transposing them where `fast` is not the last of
 * `order`.
 */
export interface StageDirective {
  readonly do: 'stage'
  readonly into: string
  readonly operand: 0 | 1
  readonly accumulator: string
  readonly at: string
  readonly order: readonly string[]
  readonly fast: string
  readonly lanes: number
}

/** loop → whole groups outer · factor + inner, and a loop over the `rest`; nothing is guarded. */
export interface PeelDirective {
  readonly do: 'peel'
  readonly loop: string
  readonly factor: number
  readonly outer: string
  readonly inner: string
  readonly rest: string
}

/**
 * Loads an operand of the multiply-add into registers at the start of loop `at`, one dimension per loop in `order` (all of
 * them inside `at`, of constant extents), `lanes` neighbours along the last of them at a time: each multiply-add then takes
 * one lane of a register.
 */
export interface HoldDirective {
  readonly do: 'hold'
  readonly into: string
  readonly operand: 0 | 1
  readonly accumulator: string
  readonly at: string
  readonly order: readonly string[]
  readonly lanes: number
}

export type Directive =
  /**
   * loop → outer · factor + inner. Where the factor does not divide, each leaf has a guard, or with `clip` the last inner
   * loop is shorter.
   */
  | {
      readonly do: 'split'
      readonly loop: string
      readonly factor: number
      readonly outer: string
      readonly inner: string
      readonly clip?: true
    }
  /** Puts perfectly nested loops into this order. */
  | { readonly do: 'reorder'; readonly loops: readonly string[] }
  /** for i { A B } → for i { A } for i { B }; registers that live across gain a dimension. */
  | { readonly do: 'distribute'; readonly loop: string }
  | { readonly do: 'bind'; readonly loop: string; readonly binding: Binding }
  | StageDirective
  | PeelDirective
  | HoldDirective
  | ChainDirective
  | PrefetchDirective
  | PhaseDirective
  | TrimDirective
  /**
   * Drops guards from stores to registers and scratch whose garbage lanes are never stored elsewhere; those that mention
   * the loop `keep` stay.
   */
  | { readonly do: 'unguard'; readonly buffers: readonly string[]; readonly keep?: string }

export function applyDirectives(kernel: Kernel, directives: readonly Directive[]): Kernel {
  return directives.reduce(applyDirective, kernel)
}

export function applyDirective(kernel: Kernel, directive: Directive): Kernel {
  switch (directive.do) {
    case 'split':
      return split(kernel, directive)
    case 'reorder':
      return reorder(kernel, directive.loops)
    case 'distribute':
      return distribute(kernel, directive.loop)
    case 'bind':
      return withBody(
        kernel,
        mapBlocks(kernel.body, (stmt) => [
          isLoop(stmt, directive.loop) ? { ...stmt, binding: directive.binding } : stmt,
        ]),
      )
    case 'stage':
      return stage(kernel, directive)
    case 'chain':
      return chain(kernel, directive)
    case 'prefetch':
      return prefetch(kernel, directive)
    case 'phase':
      return phase(kernel, directive)
    case 'trim':
      return trim(kernel, directive)
    case 'peel':
      return peel(kernel, directive)
    case 'hold':
      return hold(kernel, directive)
    case 'unguard':
      return withBody(kernel, unguard(kernel.body, directive.buffers, directive.keep))
  }
}

export function printDirective(directive: Directive): string {
  switch (directive.do) {
    case 'split':
      return `split ${directive.loop} ${directive.factor} -> ${directive.outer} ${directive.inner}${directive.clip ? ' clipped' : ''}`
    case 'reorder':
      return `reorder ${directive.loops.join(' ')}`
    case 'distribute':
      return `distribute ${directive.loop}`
    case 'bind':
      return `bind ${directive.loop} ${directive.binding}`
    case 'stage':
      return `stage ${directive.accumulator}.${directive.operand} at ${directive.at} as ${directive.into}[${directive.order.join(' ')}] along ${directive.fast}${directive.lanes > 1 ? ` by ${directive.lanes}` : ''}`
    case 'chain':
      return printChain(directive)
    case 'prefetch':
      return printPrefetch(directive)
    case 'phase':
      return printPhase(directive)
    case 'trim':
      return printTrim(directive)
    case 'peel':
      return `peel ${directive.loop} ${directive.factor} -> ${directive.outer} ${directive.inner} rest ${directive.rest}`
    case 'hold':
      return `hold ${directive.accumulator}.${directive.operand} at ${directive.at} as ${directive.into}[${directive.order.join(' ')}] by ${directive.lanes}`
    case 'unguard':
      return `unguard ${directive.buffers.join(' ')}${directive.keep === undefined ? '' : ` but for ${directive.keep}`}`
  }
}

function refuse(kernel: Kernel, directive: string, reason: string): never {
  throw new InternalError(`kernel ${kernel.name}: cannot ${directive}: ${reason}`)
}

function split(kernel: Kernel, { loop, factor, outer, inner, clip }: Extract<Directive, { do: 'split' }>): Kernel {
  const change = (stmt: Stmt): Stmt[] => {
    if (!isLoop(stmt, loop)) return [stmt]
    const { count, place, divides, extent, body } = cut(stmt, factor, outer, inner)
    const inside: Stmt = {
      kind: 'for',
      variable: inner,
      extent: clip ? extent : constantIndex(factor),
      binding: 'serial',
      body: divides || clip ? body : guardLeaves(body, { left: place, right: stmt.extent }),
    }
    return [{ ...stmt, variable: outer, extent: count, body: [inside] }]
  }
  if (!hasLoop(kernel.body, loop)) refuse(kernel, `split ${loop}`, 'there is no such loop')
  return withBody(kernel, mapBlocks(kernel.body, change))
}

function reorder(kernel: Kernel, order: readonly string[]): Kernel {
  let done = 0
  const visit = (body: readonly Stmt[]): Stmt[] =>
    body.map((stmt) => {
      if (stmt.kind !== 'for') return stmt.kind === 'if' ? { ...stmt, body: visit(stmt.body) } : stmt
      const chain: Loop[] = []
      let inner: readonly Stmt[] = [stmt]
      while (chain.length < order.length) {
        const [only] = inner
        if (inner.length !== 1 || only === undefined || !isLoop(only) || !order.includes(only.variable)) break
        chain.push(only)
        inner = only.body
      }
      if (chain.length < order.length) return { ...stmt, body: visit(stmt.body) }
      done++
      return order.reduceRight<readonly Stmt[]>((rest, name) => {
        const loop = chain.find((link) => link.variable === name)
        if (!loop) refuse(kernel, `reorder ${order.join(' ')}`, `'${name}' is not in the nest`)
        const later = order.slice(0, order.indexOf(name))
        const dependsOnInner = chain.some(
          (link) => !later.includes(link.variable) && link !== loop && indexMentions(loop.extent, link.variable),
        )
        if (dependsOnInner)
          refuse(kernel, `reorder ${order.join(' ')}`, `the extent of '${name}' depends on an inner loop`)
        return [{ ...loop, body: rest }]
      }, inner)[0] as Stmt
    })
  const body = visit(kernel.body)
  if (done === 0) refuse(kernel, `reorder ${order.join(' ')}`, 'these loops are not perfectly nested')
  return withBody(kernel, body)
}

/** Each register that the loop's body writes gains a first dimension for the loop. */
function distribute(kernel: Kernel, loop: string): Kernel {
  const expanded = new Map<string, number>()
  const registers = new Map(
    kernel.locals.filter((buffer) => buffer.space === 'register').map((buffer) => [buffer.name, buffer]),
  )
  const expandIn = (stmt: Stmt): Stmt => {
    const add = (indices: readonly Index[]): Index[] => [variable(loop), ...indices]
    const withLoads = mapStmt(stmt, {
      expr: (expr) =>
        expr.kind === 'load' && expanded.has(expr.buffer) ? { ...expr, indices: add(expr.indices) } : expr,
    })
    return (mapBlocks([withLoads], (part) => [
      part.kind === 'store' && expanded.has(part.buffer) ? { ...part, indices: add(part.indices) } : part,
    ])[0] ?? withLoads) as Stmt
  }
  let found = false
  const body = mapBlocks(kernel.body, (stmt) => {
    if (!isLoop(stmt, loop) || stmt.body.length < 2) return [stmt]
    found = true
    const extent = constantOf(stmt.extent)
    if (extent === undefined) refuse(kernel, `distribute ${loop}`, 'its extent is not constant')
    visitStmts(stmt.body, (part) => {
      if (part.kind === 'store' && registers.has(part.buffer)) expanded.set(part.buffer, extent)
    })
    if (stmt.body.some((part) => part.kind === 'let'))
      refuse(kernel, `distribute ${loop}`, 'a local value lives across')
    return stmt.body.map((part) => ({ ...stmt, body: [expandIn(part)] }))
  })
  if (!found) refuse(kernel, `distribute ${loop}`, 'there is no such loop with several statements')
  const locals = kernel.locals.map((buffer) => {
    const extent = expanded.get(buffer.name)
    return extent === undefined
      ? buffer
      : { ...buffer, dims: denseDims([extent, ...buffer.dims.map((dim) => dim.size)]) }
  })
  return { ...kernel, locals, body }
}

/**
 * Takes the guards off stores into a register. What they kept inside is clamped instead: a load whose index is the
 * guarded place reads the last valid place again, and the extra register elements are never stored.
 */
function unguard(body: readonly Stmt[], buffers: readonly string[], keep: string | undefined): Stmt[] {
  return mapBlocks(body, (stmt) => {
    if (stmt.kind !== 'if' || !stmt.body.every((part) => part.kind === 'store' && buffers.includes(part.buffer)))
      return [stmt]
    const stays = ({ left, right }: Condition): boolean =>
      keep !== undefined && (indexMentions(left, keep) || indexMentions(right, keep))
    const kept = stmt.conditions.filter(stays)
    const clamp = (index: Index): Index => {
      for (const { left, right } of stmt.conditions.filter((condition) => !stays(condition))) {
        const rest = subtractIndex(index, left)
        const moving = variablesOf(left)
        if ([...moving].every((name) => !indexMentions(rest, name)))
          return addIndex(minIndex(left, addIndex(right, -1)), rest)
      }
      return index
    }
    const open = stmt.body.map((part) =>
      mapStmt(part, { expr: (expr) => (expr.kind === 'load' ? { ...expr, indices: expr.indices.map(clamp) } : expr) }),
    )
    return kept.length === 0 ? open : [{ ...stmt, conditions: kept, body: open }]
  })
}

/** Whether a guard always holds, given ranges. */
export function alwaysHolds({ left, right }: Condition, ranges: ReadonlyMap<string, Range>): boolean {
  const range = rangeOf(subtractIndex(right, left), ranges)
  return range !== undefined && range.low > 0
}

/** Buffers that a statement list loads: what `unguard` must not lose a guard for. */
export function loadedBuffers(body: readonly Stmt[]): Set<string> {
  const names = new Set<string>()
  visitStmts(body, (stmt) => {
    if (stmt.kind === 'store' || stmt.kind === 'let') loadsOf(stmt.value, names)
  })
  return names
}
