// A kernel that adds to a sum, as the one that begins it: what it adds to counts as zero and is not read. Judged on the nest, before
// any directive.

import { bufferElements } from '../kernel/ir.ts'
import type { Buffer, Expr, Kernel, Loop, Stmt } from '../kernel/ir.ts'
import type { Index, Range } from '../kernel/index.ts'
import { placesOf, rangeAt, walk } from '../kernel/pieces.ts'
import { mapStmt, visitExprs } from '../kernel/rewrite.ts'
import { relowered } from './lowering.ts'
import type { LoweredRegion } from './lowering.ts'

type Store = Extract<Stmt, { kind: 'store' }>
type Load = Extract<Expr, { kind: 'load' }>

/** Equal regions share their kernel, and plans are made again: what begins a sum is worked out once. */
const known = new WeakMap<Kernel, Map<string, Pick<LoweredRegion, 'nest' | 'kernel'> | undefined>>()

/**
 * The region as one that begins the sums which are the arguments at these places. Undefined where its kernel does not store every
 * element of each exactly once, or reads one anywhere but where it stores it.
 */
export function fromZero(region: LoweredRegion, sums: ReadonlySet<number>): LoweredRegion | undefined {
  const ways = known.get(region.kernel) ?? new Map<string, Pick<LoweredRegion, 'nest' | 'kernel'> | undefined>()
  known.set(region.kernel, ways)
  const key = [...sums].sort((a, b) => a - b).join()
  if (!ways.has(key)) ways.set(key, beginning(region, sums))
  const begins = ways.get(key)
  return begins && { ...region, nest: begins.nest, kernel: begins.kernel }
}

function beginning(region: LoweredRegion, sums: ReadonlySet<number>): LoweredRegion | undefined {
  const { nest } = region
  const buffers = [...sums].map((place) => nest.arguments[place])
  if (!buffers.every((buffer) => buffer !== undefined && isAddedTo(nest, buffer))) return undefined
  const names = new Set(buffers.map((buffer) => buffer?.name))
  const withoutLoads = {
    expr: (expr: Expr): Expr =>
      expr.kind === 'load' && names.has(expr.buffer) ? { kind: 'constant', type: expr.type, value: 0 } : expr,
  }
  return relowered(region, {
    ...nest,
    arguments: nest.arguments.map((buffer) => (names.has(buffer.name) ? { ...buffer, access: 'write' } : buffer)),
    body: nest.body.map((stmt) => mapStmt(stmt, withoutLoads)),
  })
}

function isAddedTo(nest: Kernel, buffer: Buffer): boolean {
  const [only, ...others] = storesOf(nest.body, buffer.name, [])
  if (!only || others.length > 0 || !coversAll(nest, only, buffer)) return false
  const own = JSON.stringify(only.store.indices)
  const inside = loadsFrom(only.store.value, buffer.name)
  return (
    loadsIn(nest.body, buffer.name) === inside.length && inside.every((load) => JSON.stringify(load.indices) === own)
  )
}

interface Placed {
  readonly store: Store
  /** Outermost first. */
  readonly around: readonly (Loop | 'condition')[]
}

function storesOf(body: readonly Stmt[], buffer: string, around: Placed['around']): Placed[] {
  return body.flatMap((stmt): Placed[] => {
    if (stmt.kind === 'for') return storesOf(stmt.body, buffer, [...around, stmt])
    if (stmt.kind === 'if') return storesOf(stmt.body, buffer, [...around, 'condition'])
    return stmt.kind === 'store' && stmt.buffer === buffer ? [{ store: stmt, around }] : []
  })
}

/** No two iterations store the same element, and they are as many as there are elements, whatever run-time extents are. */
function coversAll(nest: Kernel, { store, around }: Placed, { dims, ...buffer }: Buffer): boolean {
  const places = new Map<string, Range>()
  const steps = new Map<string, number>()
  store.indices.forEach(({ terms }, dimension) => {
    for (const { scale, atom } of terms) {
      const name = atom.kind === 'variable' ? atom.name : ''
      steps.set(name, (steps.get(name) ?? 0) + scale * (dims[dimension]?.stride ?? 0))
    }
  })
  const loops: { step: number; count: number }[] = []
  for (const loop of around) {
    if (loop === 'condition' || hasSize(loop.extent)) return false
    const count = rangeAt(loop.extent, places).high
    places.set(loop.variable, { low: 0, high: count - 1 })
    loops.push({ step: steps.get(loop.variable) ?? 0, count })
    steps.delete(loop.variable)
  }
  // Something else than loops around moves it.
  if (steps.size > 0) return false
  let reach = 0
  for (const { step, count } of loops.toSorted((a, b) => a.step - b.step)) {
    if (count > 1 && step <= reach) return false
    reach += step * (count - 1)
  }
  let stored = 0
  walk(nest.body, placesOf(nest), 1, {
    store: (one, _, times, count) => void (stored += one === store ? times * count : 0),
  })
  return stored === bufferElements({ dims, ...buffer })
}

function hasSize({ terms }: Index): boolean {
  return terms.some(({ atom }) => {
    if (atom.kind === 'size' || atom.kind === 'value') return true
    if (atom.kind === 'min') return hasSize(atom.left) || hasSize(atom.right)
    return atom.kind !== 'variable' && hasSize(atom.value)
  })
}

function loadsFrom(expr: Expr, buffer: string): Load[] {
  const found: Load[] = []
  visitExprs(expr, (part) => {
    if (part.kind === 'load' && part.buffer === buffer) found.push(part)
  })
  return found
}

/** How many loads of a buffer there are. */
function loadsIn(body: readonly Stmt[], buffer: string): number {
  return body.reduce((sum, stmt) => {
    if (stmt.kind === 'for' || stmt.kind === 'if') return sum + loadsIn(stmt.body, buffer)
    return sum + (stmt.kind === 'store' || stmt.kind === 'let' ? loadsFrom(stmt.value, buffer).length : 0)
  }, 0)
}
