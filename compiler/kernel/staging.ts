// The directive `stage`: an operand of the multiply-add is copied into scratch, so that the multiply-add reads neighbours.
// A copy goes along the direction in which the operand is contiguous; where that is not the copy's own, squares of registers
// are transposed on the way.

import { InternalError } from '../diagnostic.ts'
import type { StageDirective } from './directives.ts'
import {
  addIndex,
  ceilDivide,
  constantIndex,
  constantOf,
  divideIndex,
  exprMentions,
  indexMentions,
  moduloIndex,
  scaleIndex,
  strideOf,
  subtractIndex,
  upperBound,
  variable,
} from './index.ts'
import type { Index, Range } from './index.ts'
import { denseDims } from './ir.ts'
import type { Binding, Buffer, Condition, Expr, Kernel, Loop, Stmt } from './ir.ts'
import { guardLeaves, isLoop, mapBlocks, mapExpr, mapStmt, substitution } from './rewrite.ts'

function refuse(kernel: Kernel, { accumulator, operand, at }: StageDirective, reason: string): never {
  throw new InternalError(`kernel ${kernel.name}: cannot stage ${accumulator}.${operand} at ${at}: ${reason}`)
}

export interface Found {
  readonly expr: Expr
  readonly conditions: readonly Condition[]
  readonly loops: readonly Loop[]
}

/** The multiply-add into `accumulator` below `body`, with the guards and loops around it. */
export function findOperand(body: readonly Stmt[], accumulator: string, operand: 0 | 1): Found | undefined {
  let found: Found | undefined
  const walk = (stmts: readonly Stmt[], conditions: readonly Condition[], loops: readonly Loop[]): void => {
    for (const stmt of stmts) {
      if (stmt.kind === 'for') walk(stmt.body, conditions, [...loops, stmt])
      else if (stmt.kind === 'if') walk(stmt.body, [...conditions, ...stmt.conditions], loops)
      else if (stmt.kind === 'store' && stmt.buffer === accumulator && isMultiplyAdd(stmt.value)) {
        const expr = stmt.value.args[operand]
        if (expr) found = { expr, conditions, loops }
      }
    }
  }
  walk(body, [], [])
  return found
}

export function isMultiplyAdd(expr: Expr): expr is Extract<Expr, { kind: 'apply' }> {
  return expr.kind === 'apply' && expr.word === 'fma'
}

/** Applies a `stage`. InternalError for a directive that names no operand or loop, or whose copy cannot be stated. */
export function stage(kernel: Kernel, directive: StageDirective): Kernel {
  const { into, operand, accumulator, at, order, fast, lanes } = directive
  const squares: Buffer = { name: `${into}_t`, dtype: 'f32', space: 'register', dims: denseDims([lanes, lanes]) }
  let transposes = false
  const bounds = new Map(kernel.sizes.map((size): [string, Range] => [size.name, { low: 1, high: size.bound }]))
  let staged: Buffer | undefined
  const body = mapBlocks(kernel.body, (stmt) => {
    if (!isLoop(stmt, at)) return [stmt]
    const found = findOperand(stmt.body, accumulator, operand)
    if (!found) return [stmt]
    const loops = order.map((name) => {
      const loop = found.loops.find((candidate) => candidate.variable === name)
      return loop ?? refuse(kernel, directive, `'${name}' is not a loop inside '${at}'`)
    })
    for (const loop of found.loops) {
      if (!order.includes(loop.variable) && exprMentions(found.expr, loop.variable)) {
        refuse(kernel, directive, `the operand also varies along '${loop.variable}'`)
      }
    }
    const sizes = loops.map((loop) => {
      const bound = upperBound(loop.extent, bounds)
      return bound !== undefined ? bound : refuse(kernel, directive, `'${loop.variable}' has no bound`)
    })
    staged = { name: into, dtype: 'f32', space: 'scratch', dims: denseDims(sizes) }
    const fresh = new Map(order.map((name) => [name, variable(`${into}_${name}`)]))
    const rename = substitution(fresh)
    const indices = order.map((name) => fresh.get(name) as Index)
    const outside = new Set(found.loops.map((loop) => loop.variable).filter((name) => !order.includes(name)))
    const conditions = found.conditions
      .filter(
        ({ left, right }) => ![...outside].some((name) => indexMentions(left, name) || indexMentions(right, name)),
      )
      .filter(({ left, right }) => order.some((name) => indexMentions(left, name) || indexMentions(right, name)))
      .map(({ left, right }) => ({ left: rename.index?.(left) ?? left, right: rename.index?.(right) ?? right }))
    // A guard along the copied direction cuts loads short; any other one chooses between the copy and zeros.
    const fresher = `${into}_${fast}`
    const along = conditions.filter(({ left, right }) => indexMentions(left, fresher) || indexMentions(right, fresher))
    const across = conditions.filter((condition) => !along.includes(condition))
    if (along.length > 1) refuse(kernel, directive, `several guards run along '${fast}'`)
    const value = mapExpr(mapExpr(found.expr, rename), {
      expr: (expr) => {
        if (expr.kind !== 'load' || !along[0] || !expr.indices.some((index) => indexMentions(index, fresher)))
          return expr
        return { ...expr, valid: subtractIndex(along[0].right, along[0].left) }
      },
    })
    const copy: Stmt = { kind: 'store', buffer: into, indices, value, lanes: 1 }
    const zero: Stmt = { ...copy, value: { kind: 'constant', type: 'f32', value: 0 } }
    const leaves: Stmt[] =
      across.length === 0
        ? [copy]
        : [
            { kind: 'if', conditions: across, body: [copy] },
            // Exactly one failing prefix holds: the i-th guard fails while those before it hold.
            ...across.map((condition, index): Stmt => ({
              kind: 'if',
              conditions: [...across.slice(0, index), { left: addIndex(condition.right, -1), right: condition.left }],
              body: [zero],
            })),
          ]
    const last = order.at(-1) as string
    const copied = (name: string): Copied => {
      return { variable: `${into}_${name}`, loop: loops[order.indexOf(name)] as Loop }
    }
    const turns = fast !== last
    const around = order.filter((name) => name !== fast && !(turns && name === last))
    const squared =
      turns && lanes > 1 && along.length === 0
        ? squareLoops({ row: copied(last), column: copied(fast), copy, across, leaves, squares, lanes })
        : undefined
    transposes ||= squared !== undefined
    const innermost =
      squared ?? (turns ? transposingLoops(copied(fast), copied(last), leaves) : copyLoop(copied(fast), leaves, lanes))
    const nest = around.reduceRight<readonly Stmt[]>((rest, name) => copyLoop(copied(name), rest, 1), innermost)
    const replaced = mapBlocks(stmt.body, (part) => {
      if (part.kind !== 'store' || part.buffer !== accumulator || !isMultiplyAdd(part.value)) return [part]
      const load: Expr = {
        kind: 'load',
        buffer: into,
        indices: order.map((name) => variable(name)),
        type: 'f32',
        lanes: 1,
      }
      const args = part.value.args.map((arg, index) => (index === operand ? load : arg))
      return [{ ...part, value: { ...part.value, args } }]
    })
    return [{ ...stmt, body: [...nest, ...replaced] }]
  })
  if (!staged) refuse(kernel, directive, 'there is no such multiply-add')
  return { ...kernel, locals: [...kernel.locals, staged, ...(transposes ? [squares] : [])], body }
}

/** A loop of the copy: its own variable, and the loop of the nest whose places it goes over. */
interface Copied {
  readonly variable: string
  readonly loop: Loop
}

/** A copying loop, in vectors where its constant extent allows; the rest stays scalar. */
function copyLoop({ variable: name, loop }: Copied, body: readonly Stmt[], lanes: number): Stmt[] {
  const extent = constantOf(loop.extent)
  if (lanes === 1) return [{ kind: 'for', variable: name, extent: loop.extent, binding: 'serial', body }]
  const vector = `${name}_lane`
  const place = addIndex(scaleIndex(variable(name), lanes), variable(vector))
  const rewriter = substitution(new Map([[name, place]]), new Map([[vector, { low: 0, high: lanes - 1 }]]))
  const inner = body.map((part) => mapStmt(part, rewriter))
  const whole = extent !== undefined && extent % lanes === 0
  const guarded = whole ? inner : guardLeaves(inner, { left: place, right: loop.extent })
  const lane: Stmt = {
    kind: 'for',
    variable: vector,
    extent: { constant: lanes, terms: [] },
    binding: 'lane',
    body: guarded,
  }
  const count = whole ? divideIndex(loop.extent, lanes) : ceilDivide(loop.extent, lanes)
  return [{ kind: 'for', variable: name, extent: count, binding: 'serial', body: [lane] }]
}

/** Elements of a row that a transposing copy takes at a time: a cache line of float32. */
const lineElements = 16

/**
 * Rows that lie contiguous along `fast` become columns, element by element. One cache line of each row at a time, so that the lines written
 * stay in the nearest cache until they are full.
 */
function transposingLoops(fast: Copied, slow: Copied, body: readonly Stmt[]): Stmt[] {
  const { variable: name, loop } = fast
  const inner = `${name}_in`
  const place = addIndex(scaleIndex(variable(name), lineElements), variable(inner))
  const rewriter = substitution(new Map([[name, place]]), new Map([[inner, { low: 0, high: lineElements - 1 }]]))
  const extent = constantOf(loop.extent)
  const moved = body.map((part) => mapStmt(part, rewriter))
  const whole = extent !== undefined && extent % lineElements === 0
  const guarded = whole ? moved : guardLeaves(moved, { left: place, right: loop.extent })
  const line: Stmt = {
    kind: 'for',
    variable: inner,
    extent: { constant: lineElements, terms: [] },
    binding: 'serial',
    body: guarded,
  }
  const count = ceilDivide(loop.extent, lineElements)
  return [{ kind: 'for', variable: name, extent: count, binding: 'serial', body: copyLoop(slow, [line], 1) }]
}

interface Squares {
  /** The direction that is contiguous in the copy, and the one that is contiguous in the operand. */
  readonly row: Copied
  readonly column: Copied
  /** The copy of one element. */
  readonly copy: Extract<Stmt, { kind: 'store' }>
  /** Guards that decide between the copy and zeros; none of them depends on the column. */
  readonly across: readonly Condition[]
  /** The copy of one element with its guards, and zero where they fail. */
  readonly leaves: readonly Stmt[]
  /** A register buffer of `lanes` vectors. */
  readonly squares: Buffer
  readonly lanes: number
}

/**
 * Rows become columns through squares of registers: as many rows as a vector has lanes at a time, of each a vector. What
 * is left of a row behind the last whole vector, and rows of which some lie outside, go element by element. Undefined where
 * rows are not counted in whole vectors, or a guard is no straight line in them.
 */
function squareLoops({ row, column, copy, across, leaves, squares, lanes }: Squares): Stmt[] | undefined {
  const rows = constantOf(row.loop.extent)
  if (rows === undefined || rows % lanes !== 0) return undefined
  const group = `${row.variable}_g`
  const vector = `${column.variable}_g`
  const [i, j] = [`${squares.name}_i`, `${squares.name}_j`]
  const firstRow = scaleIndex(variable(group), lanes)
  const firstColumn = scaleIndex(variable(vector), lanes)
  const loop = (name: string, extent: Index, binding: Binding, body: readonly Stmt[]): Stmt => {
    return { kind: 'for', variable: name, extent, binding, body }
  }
  const each = constantIndex(lanes)
  const moved = (stmt: Stmt, rowAt: Index, columnAt: Index): Stmt =>
    mapStmt(
      stmt,
      substitution(
        new Map([
          [row.variable, rowAt],
          [column.variable, columnAt],
        ]),
        new Map([i, j].map((name): [string, Range] => [name, { low: 0, high: lanes - 1 }])),
      ),
    )
  const square = [variable(i), variable(j)]
  const source = moved(copy, addIndex(firstRow, variable(i)), addIndex(firstColumn, variable(j))) as typeof copy
  const target = moved(copy, addIndex(firstRow, variable(j)), addIndex(firstColumn, variable(i))) as typeof copy
  const load: Expr = { kind: 'load', buffer: squares.name, indices: square, type: 'f32', lanes: 1 }
  const turned: Stmt[] = [
    loop(i, each, 'unroll', [loop(j, each, 'lane', [{ ...source, buffer: squares.name, indices: square }])]),
    { kind: 'transpose', buffer: squares.name },
    loop(i, each, 'unroll', [loop(j, each, 'lane', [{ ...target, value: load }])]),
  ]
  /** The rows of a group element by element, from a column on. */
  const plain = (extent: Index, from: Index): Stmt => {
    const body = leaves.map((leaf) => moved(leaf, addIndex(firstRow, variable(i)), addIndex(from, variable(j))))
    return loop(i, each, 'serial', [loop(j, extent, 'serial', body)])
  }
  const { extent } = column.loop
  const whole = divideIndex(extent, lanes)
  const rest = moduloIndex(extent, lanes)
  const isWhole = rest.terms.length === 0 && rest.constant === 0
  const fast = [loop(vector, whole, 'serial', turned), ...(isWhole ? [] : [plain(rest, scaleIndex(whole, lanes))])]
  if (across.length === 0) return [loop(group, constantIndex(rows / lanes), 'serial', fast)]

  // A guard that holds at its worst row holds at all of the group.
  const worst: Condition[] = []
  for (const { left, right } of across) {
    const slope = strideOf(subtractIndex(left, right), row.variable)
    if (slope === undefined) return undefined
    const at = substitution(new Map([[row.variable, slope > 0 ? addIndex(firstRow, lanes - 1) : firstRow]]))
    worst.push({ left: at.index?.(left) ?? left, right: at.index?.(right) ?? right })
  }
  // Exactly one failing prefix holds where not all do.
  const others = worst.map((condition, index): Stmt => ({
    kind: 'if',
    conditions: [...worst.slice(0, index), { left: addIndex(condition.right, -1), right: condition.left }],
    body: [plain(extent, constantIndex(0))],
  }))
  return [
    loop(group, constantIndex(rows / lanes), 'serial', [{ kind: 'if', conditions: worst, body: fast }, ...others]),
  ]
}
