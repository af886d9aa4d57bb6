// Walks a loop nest without running it: iterations among which no extent, guard or count of valid lanes changes are one
// piece, so that a nest of billions of iterations is a few dozen. Says what is executed how often and with which values
// of the variables; knows neither what is counted nor what memory is.

import { InternalError } from '../diagnostic.ts'
import { addIndex, subtractIndex } from './index.ts'
import type { Atom, Index, Range } from './index.ts'
import type { Condition, Expr, Kernel, Loop, Stmt } from './ir.ts'

/** Where variables and sizes are. What no control depends on any more is a range, the rest a single value. */
export type Places = Map<string, Range>

export type Load = Extract<Expr, { kind: 'load' }>
export type Store = Extract<Stmt, { kind: 'store' }>
export type Apply = Extract<Expr, { kind: 'apply' }>

/** Told of everything executed: `times` over all iterations in `places`, `count` elements each time. */
export interface Visitor {
  load?(load: Load, places: Places, times: number, count: number): void
  store?(store: Store, places: Places, times: number, count: number): void
  apply?(apply: Apply, times: number, statement: Stmt): void
}

/** Sizes of a kernel as given, at their bounds otherwise. */
export function placesOf(kernel: Kernel, sizes: Readonly<Record<string, number>> = {}): Places {
  return new Map(
    kernel.sizes.map(({ name, bound }) => {
      const size = sizes[name] ?? bound
      return [name, { low: size, high: size }]
    }),
  )
}

/** Inclusive bounds of an index; exact where everything it depends on is a single value. */
export function rangeAt(index: Index, places: Places): Range {
  let low = index.constant
  let high = index.constant
  for (const { scale, atom } of index.terms) {
    const range = atomAt(atom, places)
    low += scale * (scale > 0 ? range.low : range.high)
    high += scale * (scale > 0 ? range.high : range.low)
  }
  return { low, high }
}

export function atomAt(atom: Atom, places: Places): Range {
  switch (atom.kind) {
    case 'variable':
    case 'size': {
      const range = places.get(atom.name)
      if (!range) throw new InternalError(`nothing is known of '${atom.name}'`)
      return range
    }
    case 'div': {
      const { low, high } = rangeAt(atom.value, places)
      return { low: Math.floor(low / atom.by), high: Math.floor(high / atom.by) }
    }
    case 'mod': {
      const { low, high } = rangeAt(atom.value, places)
      const below = atom.by * Math.floor(low / atom.by)
      return high < below + atom.by ? { low: low - below, high: high - below } : { low: 0, high: atom.by - 1 }
    }
    case 'min': {
      const left = rangeAt(atom.left, places)
      const right = rangeAt(atom.right, places)
      return { low: Math.min(left.low, right.low), high: Math.min(left.high, right.high) }
    }
    case 'value':
      return { low: 0, high: atom.below - 1 }
  }
}

/** Executes a block in thought. Variables of its loops are in `places` only while their bodies are walked. */
export function walk(body: readonly Stmt[], places: Places, times: number, visitor: Visitor): void {
  for (const stmt of body) {
    switch (stmt.kind) {
      case 'for':
        visitIndex(stmt.extent, places, times, visitor, stmt)
        for (const piece of pieces(stmt, places)) {
          places.set(stmt.variable, piece)
          walk(stmt.body, places, times * (piece.high - piece.low + 1), visitor)
        }
        places.delete(stmt.variable)
        break
      case 'if':
        if (holds(stmt.conditions, places)) walk(stmt.body, places, times, visitor)
        break
      case 'store': {
        const count = validAt(stmt, places)
        if (count === 0) break
        visitExpr(stmt.value, places, times, visitor, stmt)
        for (const index of stmt.indices) visitIndex(index, places, times, visitor, stmt)
        visitor.store?.(stmt, places, times, count)
        break
      }
      case 'let':
        visitExpr(stmt.value, places, times, visitor, stmt)
        break
      case 'barrier':
      case 'prefetch':
        break
    }
  }
}

/** Whether a guard lets everything in `places` through; false when nothing of it. */
export function holds(conditions: readonly Condition[], places: Places): boolean {
  const slacks = conditions.map((condition) => rangeAt(slackOf(condition), places))
  if (slacks.some(({ high }) => high < 0)) return false
  if (slacks.some(({ low }) => low < 0)) throw new InternalError('a guard is not decided where it is walked')
  return true
}

/** Iterations of a loop, cut where something inside begins or ceases to depend on them; none where it never runs. */
export function pieces(loop: Loop, places: Places): Range[] {
  const extent = rangeAt(loop.extent, places)
  if (extent.low !== extent.high) throw new InternalError(`the extent of '${loop.variable}' is not decided`)
  const found: Range[] = []
  const cut = (range: Range): void => {
    places.set(loop.variable, range)
    if (range.low < range.high && !isSettled(loop.body, loop.variable, places)) {
      const middle = Math.floor((range.low + range.high) / 2)
      cut({ low: range.low, high: middle })
      cut({ low: middle + 1, high: range.high })
    } else found.push(range)
  }
  if (extent.high > 0) cut({ low: 0, high: extent.high - 1 })
  places.delete(loop.variable)
  return found
}

/** Whether no control in `body` changes as `variable` moves through its range, wherever the loops inside are. */
function isSettled(body: readonly Stmt[], variable: string, places: Places): boolean {
  return body.every((stmt) => {
    switch (stmt.kind) {
      case 'for': {
        const { low, high } = rangeAt(stmt.extent, places)
        if (high <= 0) return true
        if (low !== high && movesWith(stmt.extent, variable, places)) return false
        places.set(stmt.variable, { low: 0, high: high - 1 })
        const settled = isSettled(stmt.body, variable, places)
        places.delete(stmt.variable)
        return settled
      }
      case 'if': {
        let settled = true
        for (const condition of stmt.conditions) {
          const slack = slackOf(condition)
          const { low, high } = rangeAt(slack, places)
          if (high < 0) return true
          if (low < 0 && movesWith(slack, variable, places)) settled = false
        }
        return settled && isSettled(stmt.body, variable, places)
      }
      default:
        return countsOf(stmt).every(({ lanes, valid }) => {
          if (!movesWith(valid, variable, places)) return true
          const { low, high } = rangeAt(valid, places)
          return low >= lanes || high <= 0 || low === high
        })
    }
  })
}

/** Whether an index can change as `variable` moves through its range: not where a minimum is always its other side. */
function movesWith(index: Index, variable: string, places: Places): boolean {
  if (!mentioned(index).has(variable)) return false
  return index.terms.some(({ atom }) => {
    switch (atom.kind) {
      case 'variable':
        return atom.name === variable
      case 'size':
        return false
      case 'div':
      case 'mod': {
        const { low, high } = atomAt(atom, places)
        return low !== high && movesWith(atom.value, variable, places)
      }
      case 'min': {
        const [left, right] = [rangeAt(atom.left, places), rangeAt(atom.right, places)]
        if (left.high <= right.low) return movesWith(atom.left, variable, places)
        if (right.high <= left.low) return movesWith(atom.right, variable, places)
        return movesWith(atom.left, variable, places) || movesWith(atom.right, variable, places)
      }
      case 'value':
        return true
    }
  })
}

function validAt({ lanes, valid }: { readonly lanes: number; readonly valid?: Index }, places: Places): number {
  if (!valid) return lanes
  const { low, high } = rangeAt(valid, places)
  if (low >= lanes) return lanes
  if (high <= 0) return 0
  if (low !== high) throw new InternalError('a count of valid lanes is not decided where it is walked')
  return low
}

function visitExpr(expr: Expr, places: Places, times: number, visitor: Visitor, statement: Stmt): void {
  switch (expr.kind) {
    case 'load': {
      const count = validAt(expr, places)
      if (count === 0) return
      for (const index of expr.indices) visitIndex(index, places, times, visitor, statement)
      visitor.load?.(expr, places, times, count)
      return
    }
    case 'apply':
    case 'pack':
      for (const arg of expr.args) visitExpr(arg, places, times, visitor, statement)
      if (expr.kind === 'apply') visitor.apply?.(expr, times, statement)
      return
    case 'splat':
      visitExpr(expr.value, places, times, visitor, statement)
      return
    case 'index':
    case 'ramp':
      visitIndex(expr.index, places, times, visitor, statement)
      return
    default:
  }
}

/** What an index loads on its way. */
function visitIndex(index: Index, places: Places, times: number, visitor: Visitor, statement: Stmt): void {
  for (const { atom } of index.terms) {
    if (atom.kind === 'value') visitExpr(atom.value, places, times, visitor, statement)
    else if (atom.kind === 'div' || atom.kind === 'mod') visitIndex(atom.value, places, times, visitor, statement)
    else if (atom.kind === 'min') {
      visitIndex(atom.left, places, times, visitor, statement)
      visitIndex(atom.right, places, times, visitor, statement)
    }
  }
}

const slackOfCondition = new WeakMap<Condition, Index>()

/** Not negative where the condition holds. */
function slackOf(condition: Condition): Index {
  const known = slackOfCondition.get(condition)
  if (known) return known
  const slack = addIndex(subtractIndex(condition.right, condition.left), -1)
  slackOfCondition.set(condition, slack)
  return slack
}

const names = new WeakMap<Index, ReadonlySet<string>>()

/** Variables that an index depends on, also through what it loads. */
export function mentioned(index: Index): ReadonlySet<string> {
  const known = names.get(index)
  if (known) return known
  const found = new Set<string>()
  noteNames(index, found)
  names.set(index, found)
  return found
}

function noteNames(index: Index, found: Set<string>): void {
  for (const { atom } of index.terms) {
    if (atom.kind === 'variable') found.add(atom.name)
    else if (atom.kind === 'div' || atom.kind === 'mod') noteNames(atom.value, found)
    else if (atom.kind === 'min') {
      noteNames(atom.left, found)
      noteNames(atom.right, found)
    } else if (atom.kind === 'value') noteExprNames(atom.value, found)
  }
}

function noteExprNames(expr: Expr, found: Set<string>): void {
  if (expr.kind === 'load') for (const index of expr.indices) noteNames(index, found)
  else if (expr.kind === 'apply' || expr.kind === 'pack') for (const arg of expr.args) noteExprNames(arg, found)
  else if (expr.kind === 'splat') noteExprNames(expr.value, found)
  else if (expr.kind === 'index' || expr.kind === 'ramp') noteNames(expr.index, found)
}

interface Count {
  readonly lanes: number
  readonly valid: Index
}

const counts = new WeakMap<Stmt, readonly Count[]>()

/** The counts of valid lanes in one statement. */
function countsOf(stmt: Stmt): readonly Count[] {
  const known = counts.get(stmt)
  if (known) return known
  const found: Count[] = []
  const visit = (expr: Expr): void => {
    if (expr.kind === 'load' && expr.valid) found.push({ lanes: expr.lanes, valid: expr.valid })
    else if (expr.kind === 'apply' || expr.kind === 'pack') expr.args.forEach(visit)
    else if (expr.kind === 'splat') visit(expr.value)
  }
  if (stmt.kind === 'store' && stmt.valid) found.push({ lanes: stmt.lanes, valid: stmt.valid })
  if (stmt.kind === 'store' || stmt.kind === 'let') visit(stmt.value)
  counts.set(stmt, found)
  return found
}
