// Schedules as small values: each directive rewrites a loop nest into an equal one. They print, can be stored and
// searched, and every one is checked by running the nest before and after (`test/kernel/directives.test.ts`).
// A directive names loops; several sibling loops may share a name (after `distribute`), and it then means all of them.

import { InternalError } from '../diagnostic.ts'
import type { Binding, Buffer, Condition, Expr, Kernel, Loop, Stmt } from './ir.ts'
import { denseDims } from './ir.ts'
import {
  addIndex, ceilDivide, constantOf, divideIndex, exprMentions, indexMentions, minIndex, rangeOf, scaleIndex, subtractIndex, upperBound, variable, variablesOf,
} from './index.ts' // prettier-ignore
import type { Index, Range } from './index.ts'
import {
  guardLeaves,
  hasLoop,
  isLoop,
  loadsOf,
  mapBlocks,
  mapExpr,
  mapStmt,
  substitution,
  visitStmts,
  withBody,
} from './rewrite.ts'

export type Directive =
  /** loop → outer · factor + inner, with a guard on each leaf where the factor does not divide. */
  | {
      readonly do: 'split'
      readonly loop: string
      readonly factor: number
      readonly outer: string
      readonly inner: string
    }
  /** Puts perfectly nested loops into this order. */
  | { readonly do: 'reorder'; readonly loops: readonly string[] }
  /** for i { A B } → for i { A } for i { B }; registers that live across gain a dimension. */
  | { readonly do: 'distribute'; readonly loop: string }
  | { readonly do: 'bind'; readonly loop: string; readonly binding: Binding }
  /**
   * Copies an operand of the multiply-add into scratch at the start of loop `at`, one dimension per loop in `order`
   * (all of them inside `at`), zero where guards fail, so that the multiply-add reads neighbours.
   * `fast` names the loop along which the operand is contiguous in memory; `lanes` > 1 copies it by vectors.
   */
  | {
      readonly do: 'stage'
      readonly into: string
      readonly operand: 0 | 1
      readonly accumulator: string
      readonly at: string
      readonly order: readonly string[]
      readonly fast: string
      readonly lanes: number
    }
  /** Drops guards from stores to a register whose garbage lanes are never stored. */
  | { readonly do: 'unguard'; readonly buffer: string }

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
    case 'unguard':
      return withBody(kernel, unguard(kernel.body, directive.buffer))
  }
}

export function printDirective(directive: Directive): string {
  switch (directive.do) {
    case 'split':
      return `split ${directive.loop} ${directive.factor} -> ${directive.outer} ${directive.inner}`
    case 'reorder':
      return `reorder ${directive.loops.join(' ')}`
    case 'distribute':
      return `distribute ${directive.loop}`
    case 'bind':
      return `bind ${directive.loop} ${directive.binding}`
    case 'stage':
      return `stage ${directive.accumulator}.${directive.operand} at ${directive.at} as ${directive.into}[${directive.order.join(' ')}] along ${directive.fast}${directive.lanes > 1 ? ` by ${directive.lanes}` : ''}`
    case 'unguard':
      return `unguard ${directive.buffer}`
  }
}

function refuse(kernel: Kernel, directive: string, reason: string): never {
  throw new InternalError(`kernel ${kernel.name}: cannot ${directive}: ${reason}`)
}

function split(kernel: Kernel, { loop, factor, outer, inner }: Extract<Directive, { do: 'split' }>): Kernel {
  const place = addIndex(scaleIndex(variable(outer), factor), variable(inner))
  const rewriter = substitution(new Map([[loop, place]]), new Map([[inner, { low: 0, high: factor - 1 }]]))
  const change = (stmt: Stmt): Stmt[] => {
    if (!isLoop(stmt, loop)) return [stmt]
    const body = stmt.body.map((part) => mapStmt(part, rewriter))
    const divides = [stmt.extent.constant, ...stmt.extent.terms.map((term) => term.scale)].every(
      (n) => n % factor === 0,
    )
    const guarded = divides ? body : guardLeaves(body, { left: place, right: stmt.extent })
    const inside: Stmt = {
      kind: 'for',
      variable: inner,
      extent: { constant: factor, terms: [] },
      binding: 'serial',
      body: guarded,
    }
    return [{ ...stmt, variable: outer, extent: ceilDivide(stmt.extent, factor), body: [inside] }]
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

interface Found {
  readonly expr: Expr
  readonly conditions: readonly Condition[]
  readonly loops: readonly Loop[]
}

/** The multiply-add into `accumulator` below `body`, with the guards and loops around it. */
function findOperand(body: readonly Stmt[], accumulator: string, operand: 0 | 1): Found | undefined {
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

function isMultiplyAdd(expr: Expr): expr is Extract<Expr, { kind: 'apply' }> {
  return expr.kind === 'apply' && expr.word === 'fma'
}

function stage(kernel: Kernel, directive: Extract<Directive, { do: 'stage' }>): Kernel {
  const { into, operand, accumulator, at, order, fast, lanes } = directive
  const bounds = new Map(kernel.sizes.map((size): [string, Range] => [size.name, { low: 1, high: size.bound }]))
  let staged: Buffer | undefined
  const body = mapBlocks(kernel.body, (stmt) => {
    if (!isLoop(stmt, at)) return [stmt]
    const found = findOperand(stmt.body, accumulator, operand)
    if (!found) return [stmt]
    const loops = order.map((name) => {
      const loop = found.loops.find((candidate) => candidate.variable === name)
      return loop ?? refuse(kernel, printDirective(directive), `'${name}' is not a loop inside '${at}'`)
    })
    for (const loop of found.loops) {
      if (!order.includes(loop.variable) && exprMentions(found.expr, loop.variable)) {
        refuse(kernel, printDirective(directive), `the operand also varies along '${loop.variable}'`)
      }
    }
    const sizes = loops.map((loop) => {
      const bound = upperBound(loop.extent, bounds)
      return bound !== undefined ? bound : refuse(kernel, printDirective(directive), `'${loop.variable}' has no bound`)
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
    if (along.length > 1) refuse(kernel, printDirective(directive), `several guards run along '${fast}'`)
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
    const transposes = lanes === 1 && fast !== last
    const around = order.filter((name) => name !== fast && !(transposes && name === last))
    const copied = (name: string): [string, Loop] => [`${into}_${name}`, loops[order.indexOf(name)] as Loop]
    const innermost = transposes
      ? transposingLoops(copied(fast), copied(last), leaves)
      : copyLoop(...copied(fast), leaves, lanes)
    const nest = around.reduceRight<readonly Stmt[]>((rest, name) => copyLoop(...copied(name), rest, 1), innermost)
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
  if (!staged) refuse(kernel, printDirective(directive), 'there is no such multiply-add')
  return { ...kernel, locals: [...kernel.locals, staged], body }
}

/** A copying loop, in vectors where its constant extent allows; the rest stays scalar. */
function copyLoop(name: string, loop: Loop, body: readonly Stmt[], lanes: number): Stmt[] {
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
 * Rows that lie contiguous along `fast` become columns. One cache line of each row at a time, so that the lines written
 * stay in the nearest cache until they are full.
 */
function transposingLoops(fast: [string, Loop], slow: [string, Loop], body: readonly Stmt[]): Stmt[] {
  const [name, loop] = fast
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
  return [{ kind: 'for', variable: name, extent: count, binding: 'serial', body: copyLoop(...slow, [line], 1) }]
}

/**
 * Takes the guards off stores into a register. What they kept inside is clamped instead: a load whose index is the
 * guarded place reads the last valid place again, and the extra register elements are never stored.
 */
function unguard(body: readonly Stmt[], buffer: string): Stmt[] {
  return mapBlocks(body, (stmt) => {
    if (stmt.kind !== 'if' || !stmt.body.every((part) => part.kind === 'store' && part.buffer === buffer)) return [stmt]
    const clamp = (index: Index): Index => {
      for (const { left, right } of stmt.conditions) {
        const rest = subtractIndex(index, left)
        const moving = variablesOf(left)
        if ([...moving].every((name) => !indexMentions(rest, name)))
          return addIndex(minIndex(left, addIndex(right, -1)), rest)
      }
      return index
    }
    return stmt.body.map((part) =>
      mapStmt(part, { expr: (expr) => (expr.kind === 'load' ? { ...expr, indices: expr.indices.map(clamp) } : expr) }),
    )
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
