// The last rewriting before a backend prints: `lane` loops become vector statements, `unroll` loops become copies, and
// repeated loads in straight-line code get a name. A guard that runs along the lanes becomes a count of valid lanes, in
// a second version of the statements that only the last vector takes.

import { InternalError } from '../diagnostic.ts'
import type { Buffer, Condition, Expr, Kernel, Loop, Stmt } from './ir.ts'
import { bufferOf, lanesOf, typeOf } from './ir.ts'
import {
  addIndex,
  constantIndex,
  constantOf,
  indexMentions,
  rangeOf,
  strideOf,
  subtractIndex,
  substituteIndex,
} from './index.ts'
import type { Index, Range } from './index.ts'
import { exprMentions } from './index.ts'
import { isLoop, loadsOf, mapBlocks, mapExpr, mapStmt, substitution, widen, withBody } from './rewrite.ts'
import { spreadLoads } from './spreading.ts'

export function lowerLanes(kernel: Kernel): Kernel {
  const body = mapBlocks(kernel.body, (stmt) => {
    if (!isLoop(stmt) || stmt.binding !== 'lane') return [stmt]
    const lanes = constantOf(stmt.extent)
    if (lanes === undefined)
      throw new InternalError(`kernel ${kernel.name}: lane loop '${stmt.variable}' has no constant extent`)
    return new Vectoriser(kernel, stmt.variable, lanes).block(stmt.body)
  })
  return withBody(kernel, body)
}

/** The vector form of the body of one lane loop. */
class Vectoriser {
  readonly #kernel: Kernel
  readonly #lane: string
  readonly #lanes: number
  readonly #locals = new Set<string>()

  constructor(kernel: Kernel, lane: string, lanes: number) {
    this.#kernel = kernel
    this.#lane = lane
    this.#lanes = lanes
  }

  block(body: readonly Stmt[], valid?: Index): Stmt[] {
    return body.flatMap((stmt) => this.#stmt(stmt, valid))
  }

  #fail(reason: string): never {
    throw new InternalError(`kernel ${this.#kernel.name}: cannot make lanes of '${this.#lane}': ${reason}`)
  }

  #base(index: Index): Index {
    const zero = new Map([[this.#lane, constantIndex(0)]])
    return substituteIndex(index, zero, (expr) => this.#atZero(expr))
  }

  #atZero(expr: Expr): Expr {
    return mapExpr(expr, substitution(new Map([[this.#lane, constantIndex(0)]])))
  }

  #stmt(stmt: Stmt, valid: Index | undefined): Stmt[] {
    switch (stmt.kind) {
      case 'for':
        if (indexMentions(stmt.extent, this.#lane)) this.#fail(`the extent of '${stmt.variable}' varies by lane`)
        return [{ ...stmt, body: this.block(stmt.body, valid) }]
      case 'if':
        return this.#guarded(stmt.conditions, stmt.body, valid)
      case 'let': {
        const value = this.#expr(stmt.value, valid)
        if (lanesOf(value) > 1) this.#locals.add(stmt.name)
        return [{ ...stmt, value }]
      }
      case 'store':
        return [this.#store(stmt, valid)]
      case 'barrier':
      case 'prefetch':
      case 'transpose':
        return this.#fail(`a ${stmt.kind} is inside`)
    }
  }

  #guarded(conditions: readonly Condition[], body: readonly Stmt[], valid: Index | undefined): Stmt[] {
    const along = conditions.filter(
      ({ left, right }) => indexMentions(left, this.#lane) || indexMentions(right, this.#lane),
    )
    const across = conditions.filter((condition) => !along.includes(condition))
    const wrap = (extra: readonly Condition[], inner: Stmt[]): Stmt => ({
      kind: 'if',
      conditions: [...across, ...extra],
      body: inner,
    })
    const [guard] = along
    if (guard === undefined) return [wrap([], this.block(body, valid))]
    const room = subtractIndex(guard.right, guard.left)
    if (along.length > 1 || valid !== undefined || strideOf(room, this.#lane) !== -1) {
      this.#fail('a guard along the lanes is not a count')
    }
    const count = this.#base(room)
    const full = wrap([{ left: constantIndex(this.#lanes - 1), right: count }], this.block(body))
    const partial = wrap(
      [
        { left: constantIndex(0), right: count },
        { left: count, right: constantIndex(this.#lanes) },
      ],
      this.block(body, count),
    )
    return [full, partial]
  }

  /** Whether lanes are neighbours (1), the same place (0) or neither (undefined) in an access. */
  #step(buffer: Buffer, indices: readonly Index[]): number | undefined {
    let step = 0
    for (const [position, index] of indices.entries()) {
      const stride = strideOf(index, this.#lane)
      const dim = buffer.dims[position]
      if (stride === undefined || dim === undefined) return undefined
      if (stride !== 0 && position !== indices.length - 1) return undefined
      step += stride * dim.stride
    }
    return step === 0 || step === 1 ? step : undefined
  }

  #store(stmt: Extract<Stmt, { kind: 'store' }>, valid: Index | undefined): Stmt {
    const buffer = bufferOf(this.#kernel, stmt.buffer)
    const step = this.#step(buffer, stmt.indices)
    if (step !== 1) this.#fail(`'${stmt.buffer}' is not stored to neighbours`)
    const indices = stmt.indices.map((index) => this.#base(index))
    const value = widen(this.#expr(stmt.value, valid), this.#lanes)
    const store = { ...stmt, indices, lanes: this.#lanes }
    if (valid === undefined) return { ...store, value }
    if (buffer.space !== 'register') return { ...store, value, valid }
    // A register keeps the lanes that the guard leaves out.
    const old: Expr = { kind: 'load', buffer: stmt.buffer, indices, type: typeOf(stmt.value), lanes: this.#lanes }
    const inside: Expr = {
      kind: 'apply',
      word: 'intLess',
      args: [
        { kind: 'ramp', index: constantIndex(0), lanes: this.#lanes },
        { kind: 'splat', value: { kind: 'index', index: valid }, lanes: this.#lanes },
      ],
      lanes: this.#lanes,
    }
    const word = typeOf(stmt.value) === 'i32' ? 'intSelect' : 'select'
    return { ...store, value: { kind: 'apply', word, args: [inside, value, old], lanes: this.#lanes } }
  }

  #expr(expr: Expr, valid: Index | undefined): Expr {
    switch (expr.kind) {
      case 'constant':
      case 'tree':
        return expr
      case 'local':
        return this.#locals.has(expr.name) ? { ...expr, lanes: this.#lanes } : expr
      case 'index':
        return this.#index(expr.index)
      case 'load':
        return this.#load(expr, valid)
      case 'apply': {
        const args = expr.args.map((arg) => this.#expr(arg, valid))
        if (args.every((arg) => lanesOf(arg) === 1)) return { ...expr, args }
        return { ...expr, args: args.map((arg) => widen(arg, this.#lanes)), lanes: this.#lanes }
      }
      case 'splat':
      case 'ramp':
      case 'pack':
        return this.#fail('it holds vectors already')
    }
  }

  #index(index: Index): Expr {
    if (!indexMentions(index, this.#lane)) return { kind: 'index', index }
    if (strideOf(index, this.#lane) === 1) return { kind: 'ramp', index: this.#base(index), lanes: this.#lanes }
    return { kind: 'pack', args: this.#copies({ kind: 'index', index }) }
  }

  #copies(expr: Expr): Expr[] {
    return Array.from({ length: this.#lanes }, (_, lane) =>
      mapExpr(expr, substitution(new Map([[this.#lane, constantIndex(lane)]]))),
    )
  }

  #load(expr: Extract<Expr, { kind: 'load' }>, valid: Index | undefined): Expr {
    if (!exprMentions(expr, this.#lane)) return expr
    const buffer = bufferOf(this.#kernel, expr.buffer)
    const step = this.#step(buffer, expr.indices)
    const own = expr.valid === undefined ? valid : this.#base(expr.valid)
    if (step === 1) {
      const load = { ...expr, indices: expr.indices.map((index) => this.#base(index)), lanes: this.#lanes }
      const cut = buffer.space === 'register' ? undefined : own
      if (cut === undefined) {
        const { valid: _dropped, ...whole } = load
        return whole
      }
      return { ...load, valid: cut }
    }
    if (own === undefined) return { kind: 'pack', args: this.#copies(expr) }
    const cut = expr.valid === undefined ? { ...expr, valid: addIndex(own, { constant: 0, terms: [] }) } : expr
    return {
      kind: 'pack',
      args: this.#copies(cut).map((arg, lane) =>
        arg.kind === 'load' && expr.valid === undefined ? { ...arg, valid: addIndex(own, -lane) } : arg,
      ),
    }
  }
}

export function lowerUnrolled(kernel: Kernel): Kernel {
  const body = mapBlocks(kernel.body, (stmt) => {
    if (!isLoop(stmt) || stmt.binding !== 'unroll') return [stmt]
    const extent = constantOf(stmt.extent)
    if (extent === undefined)
      throw new InternalError(`kernel ${kernel.name}: '${stmt.variable}' cannot unroll without a constant extent`)
    return Array.from({ length: extent }, (_, place) => {
      const rewriter = substitution(new Map([[stmt.variable, constantIndex(place)]]))
      return { kind: 'if', conditions: [], body: stmt.body.map((part) => mapStmt(part, rewriter)) } as const
    })
  })
  return withBody(kernel, mergeGuards(simplifyGuards(body, kernel)))
}

/** Gives every local a name of its own, in the order of the text: copies of a block bring the same names along. */
function uniqueLocals(kernel: Kernel): Kernel {
  let next = 0
  const walk = (stmts: readonly Stmt[], outer: ReadonlyMap<string, string>): Stmt[] => {
    const names = new Map(outer)
    const rename = (expr: Expr): Expr =>
      expr.kind === 'local' ? { ...expr, name: names.get(expr.name) ?? expr.name } : expr
    return stmts.map((stmt) => {
      if (stmt.kind === 'for' || stmt.kind === 'if') return { ...stmt, body: walk(stmt.body, names) }
      const renamed = mapStmt(stmt, { expr: rename })
      if (renamed.kind !== 'let') return renamed
      const name = `v${next++}`
      names.set(renamed.name, name)
      return { ...renamed, name }
    })
  }
  return withBody(kernel, walk(kernel.body, new Map()))
}

/** Drops guards that always hold and statements whose guard never does; loops of one iteration lose their loop. */
export function simplifyGuards(body: readonly Stmt[], kernel: Kernel): Stmt[] {
  const ranges = new Map(kernel.sizes.map((size): [string, Range] => [size.name, { low: 1, high: size.bound }]))
  const walk = (stmts: readonly Stmt[]): Stmt[] =>
    stmts.flatMap((stmt): Stmt[] => {
      if (stmt.kind === 'for') return walkLoop(stmt)
      if (stmt.kind !== 'if') return [stmt]
      const conditions: Condition[] = []
      for (const condition of stmt.conditions) {
        const range = rangeOf(subtractIndex(condition.right, condition.left), ranges)
        if (range && range.high <= 0) return []
        if (!range || range.low <= 0) conditions.push(condition)
      }
      const inner = walk(stmt.body)
      if (inner.length === 0) return []
      return conditions.length === 0 ? inner : [{ ...stmt, conditions, body: inner }]
    })
  const walkLoop = (loop: Loop): Stmt[] => {
    const extent = rangeOf(loop.extent, ranges)
    const known = ranges.get(loop.variable)
    if (extent) ranges.set(loop.variable, { low: 0, high: Math.max(0, extent.high - 1) })
    else ranges.delete(loop.variable)
    const inner = walk(loop.body)
    if (known) ranges.set(loop.variable, known)
    else ranges.delete(loop.variable)
    return inner.length === 0 ? [] : [{ ...loop, body: inner }]
  }
  return walk(body)
}

/** Neighbours under the same guard come under one: copies of an unrolled body bring their guards along. */
function mergeGuards(body: readonly Stmt[]): Stmt[] {
  const merged: Stmt[] = []
  for (const stmt of body) {
    if (stmt.kind !== 'for' && stmt.kind !== 'if') {
      merged.push(stmt)
      continue
    }
    const last = merged.at(-1)
    // What is loaded may have changed in between.
    const same =
      stmt.kind === 'if' &&
      last?.kind === 'if' &&
      !stmt.conditions.some(({ left, right }) => loadsAnything(left) || loadsAnything(right)) &&
      JSON.stringify(last.conditions) === JSON.stringify(stmt.conditions)
    if (same) merged[merged.length - 1] = { ...last, body: [...last.body, ...stmt.body] }
    else merged.push(stmt)
  }
  return merged.map((stmt) =>
    stmt.kind === 'for' || stmt.kind === 'if' ? { ...stmt, body: mergeGuards(stmt.body) } : stmt,
  )
}

const loadsAnything = (index: Index): boolean => loadsOf({ kind: 'index', index }).size > 0

/** Names loads that a straight run of statements repeats, as long as nothing in the run writes what they read. */
export function shareLoads(kernel: Kernel): Kernel {
  let next = 0
  const walk = (stmts: readonly Stmt[]): Stmt[] => {
    const nested = stmts.map((stmt) =>
      stmt.kind === 'for' || stmt.kind === 'if' ? { ...stmt, body: walk(stmt.body) } : stmt,
    )
    const result: Stmt[] = []
    let run: Stmt[] = []
    const flush = (): void => {
      result.push(...shareRun(kernel, run, () => `shared${next++}`))
      run = []
    }
    for (const stmt of nested) {
      if (stmt.kind === 'store' || stmt.kind === 'let') run.push(stmt)
      else {
        flush()
        result.push(stmt)
      }
    }
    flush()
    return result
  }
  return withBody(kernel, walk(kernel.body))
}

function shareRun(kernel: Kernel, run: readonly Stmt[], freshName: () => string): Stmt[] {
  if (run.length < 2) return [...run]
  const written = new Set(run.flatMap((stmt) => (stmt.kind === 'store' ? [stmt.buffer] : [])))
  const shareable = (expr: Expr): boolean => {
    if (expr.kind === 'load') return bufferOf(kernel, expr.buffer).space !== 'register' && !written.has(expr.buffer)
    return expr.kind === 'splat' && expr.value.kind === 'load' && shareable(expr.value)
  }
  const counts = new Map<string, number>()
  for (const stmt of run) {
    if (stmt.kind !== 'store' && stmt.kind !== 'let') continue
    outermost(stmt.value, shareable, (expr) => {
      const key = JSON.stringify(expr)
      counts.set(key, (counts.get(key) ?? 0) + 1)
      return expr
    })
  }
  const names = new Map<string, string>()
  return run.flatMap((stmt): Stmt[] => {
    if (stmt.kind !== 'store' && stmt.kind !== 'let') return [stmt]
    const lets: Stmt[] = []
    const value = outermost(stmt.value, shareable, (expr) => {
      const key = JSON.stringify(expr)
      if ((counts.get(key) ?? 0) < 2) return expr
      const name = names.get(key) ?? freshName()
      if (!names.has(key)) lets.push({ kind: 'let', name, value: expr })
      names.set(key, name)
      return { kind: 'local', name, type: typeOf(expr), lanes: lanesOf(expr) }
    })
    return [...lets, { ...stmt, value }]
  })
}

/** Rewrites the largest parts that `wanted` picks, without going into them. */
function outermost(expr: Expr, wanted: (expr: Expr) => boolean, change: (expr: Expr) => Expr): Expr {
  if (wanted(expr)) return change(expr)
  if (expr.kind === 'splat') return { ...expr, value: outermost(expr.value, wanted, change) }
  if (expr.kind === 'apply' || expr.kind === 'pack') {
    return { ...expr, args: expr.args.map((arg) => outermost(arg, wanted, change)) }
  }
  return expr
}

/** From directives to what a backend prints. */
export function lowerKernel(kernel: Kernel): Kernel {
  const lanes = lowerLanes(kernel)
  const shared = shareLoads(lowerUnrolled({ ...lanes, body: simplifyGuards(lanes.body, lanes) }))
  return uniqueLocals(spreadLoads(shared))
}
