// Straight runs that take lanes of held vectors: each load moves to a few statements before its first use. All of them at the
// top would want more registers than there are, and one right before its use makes a processor wait that runs in order.

import { constantOf } from './index.ts'
import type { Atom, Index } from './index.ts'
import { bufferOf } from './ir.ts'
import type { Expr, Kernel, Stmt } from './ir.ts'
import { visitExprs, withBody } from './rewrite.ts'

/** Statements between a load and its use: of 4 to 20, what g++ 12 and clang 22 make the fewest instructions and cycles of. */
const distance = 12

type Simple = Extract<Stmt, { kind: 'store' | 'let' }>

/** Reorders runs of a kernel whose loops are unrolled and whose loads are shared. What is computed keeps its order. */
export function spreadLoads(kernel: Kernel): Kernel {
  const walk = (stmts: readonly Stmt[]): Stmt[] => {
    const result: Stmt[] = []
    let run: Simple[] = []
    const flush = (): void => {
      result.push(...spread(kernel, run))
      run = []
    }
    for (const stmt of stmts) {
      if (stmt.kind === 'store' || stmt.kind === 'let') {
        run.push(stmt)
        continue
      }
      flush()
      result.push(stmt.kind === 'for' || stmt.kind === 'if' ? { ...stmt, body: walk(stmt.body) } : stmt)
    }
    flush()
    return result
  }
  return withBody(kernel, walk(kernel.body))
}

function spread(kernel: Kernel, run: readonly Simple[]): readonly Simple[] {
  const widths = heldWidths(kernel, run)
  if (!widths) return run
  const others = run.filter((stmt) => !isLoad(kernel, stmt))
  const names = others.map((stmt) => ({ read: readNames(stmt, widths), written: writtenName(stmt, widths) }))
  let from = 0
  /** By how many of the others stand before them. */
  const before = new Map<number, Simple[]>()
  for (const stmt of run) {
    if (!isLoad(kernel, stmt)) {
      from++
      continue
    }
    const name = writtenName(stmt, widths)
    const use = names.findIndex(({ read }, place) => place >= from && read.has(name))
    const last = names.findLastIndex(({ read, written }, place) => place < from && (read.has(name) || written === name))
    const to = use < 0 ? from : Math.max(last + 1, use - distance)
    before.set(to, [...(before.get(to) ?? []), stmt])
  }
  const at = (place: number): readonly Simple[] => before.get(place) ?? []
  return [...others.flatMap((stmt, place) => [...at(place), stmt]), ...at(others.length)]
}

/**
 * How wide the vectors are that a run stores in registers, by buffer. Undefined for a run that takes no lane of any, or
 * writes memory, past which a load could not move.
 */
function heldWidths(kernel: Kernel, run: readonly Simple[]): ReadonlyMap<string, number> | undefined {
  const widths = new Map<string, number>()
  for (const stmt of run) {
    if (stmt.kind !== 'store') continue
    if (bufferOf(kernel, stmt.buffer).space !== 'register') return undefined
    if (stmt.indices.some((index) => constantOf(index) === undefined)) return undefined
    if (widths.has(stmt.buffer) && widths.get(stmt.buffer) !== stmt.lanes) return undefined
    widths.set(stmt.buffer, stmt.lanes)
  }
  let takes = false
  for (const stmt of run) {
    visitExprs(stmt.value, (expr) => {
      takes ||= expr.kind === 'load' && expr.lanes < (widths.get(expr.buffer) ?? 1)
    })
  }
  return takes ? widths : undefined
}

/** Whether a statement does nothing but name what lies in memory, at a place that no other value decides. */
function isLoad(kernel: Kernel, { value }: Simple): boolean {
  const source = value.kind === 'splat' ? value.value : value
  if (source.kind !== 'load' || bufferOf(kernel, source.buffer).space === 'register') return false
  return [...source.indices, ...(source.valid ? [source.valid] : [])].every(isPlain)
}

function isPlain({ terms }: Index): boolean {
  const isPlainAtom = (atom: Atom): boolean => {
    if (atom.kind === 'div' || atom.kind === 'mod') return isPlain(atom.value)
    return atom.kind === 'min' ? isPlain(atom.left) && isPlain(atom.right) : atom.kind !== 'value'
  }
  return terms.every(({ atom }) => isPlainAtom(atom))
}

function writtenName(stmt: Simple, widths: ReadonlyMap<string, number>): string {
  return stmt.kind === 'let' ? stmt.name : vectorName(stmt.buffer, stmt.indices, widths)
}

function readNames(stmt: Simple, widths: ReadonlyMap<string, number>): ReadonlySet<string> {
  const names = new Set<string>()
  visitExprs(stmt.value, (expr: Expr) => {
    if (expr.kind === 'local') names.add(expr.name)
    if (expr.kind === 'load' && widths.has(expr.buffer)) names.add(vectorName(expr.buffer, expr.indices, widths))
  })
  return names
}

/** A register's vector; a lane of it has the same. */
function vectorName(buffer: string, indices: readonly Index[], widths: ReadonlyMap<string, number>): string {
  const places = indices.map(constantOf)
  const last = places.pop() ?? 0
  return [buffer, ...places, last - (last % (widths.get(buffer) ?? 1))].join(' ')
}
