// Plain rewriting of kernel IR: substitution of variables, bottom-up maps over expressions and statements, and what a
// tree mentions. No judgement about what is legal; that is for the directives.

import { lanesOf } from './ir.ts'
import type { Condition, Expr, Kernel, Loop, Stmt } from './ir.ts'
import { substituteIndex } from './index.ts'
import type { Index, Ranges } from './index.ts'

export interface Rewriter {
  readonly index?: (index: Index) => Index
  /** After the children were rewritten. */
  readonly expr?: (expr: Expr) => Expr
}

const same = <T>(given: T): T => given

/** The same list where `change` changes nothing in it. */
function mapShared<T>(list: readonly T[], change: (item: T) => T): readonly T[] {
  const changed = list.map(change)
  return changed.some((item, place) => item !== list[place]) ? changed : list
}

/** What does not change is shared with what was given: most of a kernel does not. */
export function mapExpr(expr: Expr, rewriter: Rewriter): Expr {
  const { index = same, expr: finish = same } = rewriter
  switch (expr.kind) {
    case 'constant':
    case 'local':
    case 'tree':
      return finish(expr)
    case 'index':
    case 'ramp': {
      const moved = index(expr.index)
      return finish(moved === expr.index ? expr : { ...expr, index: moved })
    }
    case 'load': {
      const indices = mapShared(expr.indices, index)
      const valid = expr.valid && index(expr.valid)
      if (indices === expr.indices && valid === expr.valid) return finish(expr)
      return finish({ ...expr, indices, ...(valid === undefined ? {} : { valid }) })
    }
    case 'splat': {
      const value = mapExpr(expr.value, rewriter)
      return finish(value === expr.value ? expr : { ...expr, value })
    }
    case 'apply':
    case 'pack': {
      const args = mapShared(expr.args, (arg) => mapExpr(arg, rewriter))
      return finish(args === expr.args ? expr : { ...expr, args })
    }
  }
}

export function mapStmt(stmt: Stmt, rewriter: Rewriter): Stmt {
  const { index = same } = rewriter
  switch (stmt.kind) {
    case 'for':
      return { ...stmt, extent: index(stmt.extent), body: stmt.body.map((inner) => mapStmt(inner, rewriter)) }
    case 'if':
      return {
        ...stmt,
        conditions: stmt.conditions.map(({ left, right }) => ({ left: index(left), right: index(right) })),
        body: stmt.body.map((inner) => mapStmt(inner, rewriter)),
      }
    case 'store':
      return {
        ...stmt,
        indices: stmt.indices.map(index),
        value: mapExpr(stmt.value, rewriter),
        ...(stmt.valid === undefined ? {} : { valid: index(stmt.valid) }),
      }
    case 'let':
      return { ...stmt, value: mapExpr(stmt.value, rewriter) }
    case 'prefetch':
      return { ...stmt, indices: stmt.indices.map(index) }
    case 'barrier':
    case 'transpose':
      return stmt
  }
}

/** Replaces loop variables everywhere, inside loaded indices too. */
export function substitution(replace: ReadonlyMap<string, Index>, ranges?: Ranges): Rewriter {
  const rewriter: Rewriter = {
    index: (index) => substituteIndex(index, replace, (expr) => mapExpr(expr, rewriter), ranges),
  }
  return rewriter
}

/** Rewrites every statement list, innermost first; `change` may replace a statement by several. */
export function mapBlocks(body: readonly Stmt[], change: (stmt: Stmt) => readonly Stmt[]): Stmt[] {
  const made: Stmt[] = []
  for (const stmt of body) {
    const isBlock = stmt.kind === 'for' || stmt.kind === 'if'
    for (const changed of change(isBlock ? { ...stmt, body: mapBlocks(stmt.body, change) } : stmt)) made.push(changed)
  }
  return made
}

/** Adds conditions to each leaf (store or let) below, in front of those it has. */
export function guardLeaves(body: readonly Stmt[], condition: Condition): Stmt[] {
  return body.map((stmt) => {
    if (stmt.kind === 'for') return { ...stmt, body: guardLeaves(stmt.body, condition) }
    if (stmt.kind === 'if') return { ...stmt, conditions: [condition, ...stmt.conditions] }
    if (stmt.kind === 'store') return { kind: 'if', conditions: [condition], body: [stmt] }
    return stmt
  })
}

export function visitStmts(body: readonly Stmt[], visit: (stmt: Stmt) => void): void {
  for (const stmt of body) {
    visit(stmt)
    if (stmt.kind === 'for' || stmt.kind === 'if') visitStmts(stmt.body, visit)
  }
}

export function visitExprs(expr: Expr, visit: (expr: Expr) => void): void {
  visit(expr)
  if (expr.kind === 'splat') visitExprs(expr.value, visit)
  else if (expr.kind === 'apply' || expr.kind === 'pack') for (const arg of expr.args) visitExprs(arg, visit)
}

/** Names of buffers that an expression loads. */
export function loadsOf(expr: Expr, into: Set<string> = new Set()): Set<string> {
  visitExprs(expr, (part) => {
    if (part.kind === 'load' || part.kind === 'tree') into.add(part.buffer)
    const indices =
      part.kind === 'load' ? part.indices : part.kind === 'index' || part.kind === 'ramp' ? [part.index] : []
    for (const index of indices)
      for (const { atom } of index.terms) if (atom.kind === 'value') loadsOf(atom.value, into)
  })
  return into
}

export function isLoop(stmt: Stmt, variable?: string): stmt is Loop {
  return stmt.kind === 'for' && (variable === undefined || stmt.variable === variable)
}

/** Whether a loop of that name stands anywhere below. */
export function hasLoop(body: readonly Stmt[], variable: string): boolean {
  let found = false
  visitStmts(body, (stmt) => {
    found ||= isLoop(stmt, variable)
  })
  return found
}

export function withBody(kernel: Kernel, body: readonly Stmt[]): Kernel {
  return { ...kernel, body }
}

/** The same value in `lanes` lanes. */
export function widen(expr: Expr, lanes: number): Expr {
  return lanesOf(expr) === lanes ? expr : { kind: 'splat', value: expr, lanes }
}

/** Whether two trees are the same; IR is plain data. */
export function equalExpr(a: Expr, b: Expr): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
