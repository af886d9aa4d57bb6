// The directive that gives one grid iteration of a nest to a workgroup. Loops over the slots of a reduction become one
// direction of invocations, loops over a block's rows the other; each buffer is then private to an invocation where no
// other needs what it holds, and else shared, with barriers between. It must not know what a nest computes.

import { InternalError } from '../diagnostic.ts'
import { separatePhases } from './gpuBarriers.ts'
import { isOwn, ownership, placeBuffers } from './gpuPlaces.ts'
import type { Invocations } from './gpuPlaces.ts'
import {
  addIndex,
  ceilDivide,
  constantOf,
  equalIndex,
  indexMentions,
  minIndex,
  scaleIndex,
  upperBound,
  variable,
} from './index.ts'
import type { Index, Range } from './index.ts'
import type { Buffer, Condition, Expr, Kernel, Loop, Stmt } from './ir.ts'
import { denseDims } from './ir.ts'
import { isLoop, mapBlocks, mapExpr, mapStmt, substitution, visitStmts } from './rewrite.ts'

/** Rows of a grid iteration's block, spread over invocations, with what is left over taken by a new grid loop. */
export interface RowSpread {
  /** Loops over the rows of the block: all of one extent. */
  readonly loops: readonly string[]
  readonly outer: string
  readonly inner: string
  /** Rows that a workgroup takes. */
  readonly size: number
}

export interface Cooperate {
  readonly do: 'cooperate'
  /** The variable of the invocations along a row, and how many there are. */
  readonly column: string
  readonly columns: number
  /** Loops of `columns` iterations that become the invocations. */
  readonly slots: readonly string[]
  /** Loops of any extent whose iterations the invocations take in turn. */
  readonly strided: readonly string[]
  readonly rows?: RowSpread
}

/** The fixed tree over 16 partial results. */
const TREE = 16

/** @throws InternalError where a loop or a buffer does not fit what the directive says of it */
export function cooperate(kernel: Kernel, directive: Cooperate): Kernel {
  return new Cooperation(kernel, directive).run()
}

class Cooperation {
  readonly #kernel: Kernel
  readonly #directive: Cooperate
  readonly #locals: ReadonlySet<string>
  readonly #rowExtent: Index | undefined
  #usesTree = false

  constructor(kernel: Kernel, directive: Cooperate) {
    this.#kernel = kernel
    this.#directive = directive
    this.#locals = new Set(kernel.locals.map((buffer) => buffer.name))
    this.#rowExtent = this.#extentOfRows()
  }

  #fail(reason: string): never {
    throw new InternalError(`kernel ${this.#kernel.name}: cannot cooperate: ${reason}`)
  }

  #extentOfRows(): Index | undefined {
    const names = this.#directive.rows?.loops ?? []
    let extent: Index | undefined
    visitStmts(this.#kernel.body, (stmt) => {
      if (isLoop(stmt) && names.includes(stmt.variable)) extent ??= stmt.extent
    })
    if (names.length > 0 && !extent) this.#fail('there is no loop over rows')
    return extent
  }

  run(): Kernel {
    const { columns, column, rows } = this.#directive
    const grid: Loop[] = []
    let body = this.#kernel.body
    for (let next = body[0]; body.length === 1 && next?.kind === 'for' && next.binding === 'grid'; next = body[0]) {
      grid.push(next)
      body = next.body
    }
    const on: Invocations = { column, columns, ...(rows ? { rows } : {}) }
    const placed = placeBuffers(this.#kernel, this.#inner(body), on)
    const expanded = this.#guardStores(this.#expandTrees(placed.body))
    const trees: Buffer[] = this.#usesTree
      ? [
          {
            name: this.#treeName,
            dtype: 'f32',
            space: 'workgroup',
            dims: denseDims([...(rows ? [rows.size] : []), columns]),
          },
        ]
      : []
    const locals = [...placed.locals, ...trees]
    const shared = new Set(locals.flatMap((buffer) => (buffer.space === 'workgroup' ? [buffer.name] : [])))
    const owned = ownership(on)
    const phased = separatePhases(expanded, {
      shared,
      overwritten: this.#overwritten(expanded),
      divergent: [column, ...(rows ? [rows.inner] : [])],
      isOwn: (indices) => isOwn(indices, owned),
    })
    const whole = this.#rowExtent && rows ? [this.#insideRows(rows, phased)] : phased
    const place = (name: string, extent: number, binding: 'local' | 'grid', inner: readonly Stmt[]): Stmt[] => [
      { kind: 'for', variable: name, extent: { constant: extent, terms: [] }, binding, body: inner },
    ]
    let nest = place(column, columns, 'local', whole)
    if (rows)
      nest = place(
        rows.outer,
        Math.ceil(this.#mostRows() / rows.size),
        'grid',
        place(rows.inner, rows.size, 'local', nest),
      )
    return { ...this.#kernel, locals, body: grid.reduceRight<Stmt[]>((rest, loop) => [{ ...loop, body: rest }], nest) }
  }

  #mostRows(): number {
    const bounds = new Map(this.#kernel.sizes.map((size): [string, Range] => [size.name, { low: 1, high: size.bound }]))
    const most = this.#rowExtent && upperBound(this.#rowExtent, bounds)
    return most ?? this.#fail('the rows have no bound')
  }

  /** The row within the block that an invocation has; beyond the last one for some. */
  #row(rows: RowSpread): Index {
    return addIndex(scaleIndex(variable(rows.outer), rows.size), variable(rows.inner))
  }

  /** Whole workgroups without a row have nothing to do; all others go through together. */
  #insideRows(rows: RowSpread, body: readonly Stmt[]): Stmt {
    const first = scaleIndex(variable(rows.outer), rows.size)
    return { kind: 'if', conditions: [{ left: first, right: this.#rowExtent as Index }], body }
  }

  /** Takes loops off that became invocations. */
  #inner(body: readonly Stmt[]): Stmt[] {
    const { rows, slots, strided, column, columns } = this.#directive
    return body.flatMap((stmt): Stmt[] => {
      if (stmt.kind === 'if') return [{ ...stmt, body: this.#inner(stmt.body) }]
      if (stmt.kind !== 'for') return [stmt]
      const inner = this.#inner(stmt.body)
      if (slots.includes(stmt.variable)) {
        if (constantOf(stmt.extent) !== columns) this.#fail(`'${stmt.variable}' has not ${columns} iterations`)
        const rename = substitution(
          new Map([[stmt.variable, variable(column)]]),
          new Map([[column, { low: 0, high: columns - 1 }]]),
        )
        return inner.map((part) => mapStmt(part, rename))
      }
      if (strided.includes(stmt.variable)) return [this.#stridedLoop(stmt, inner)]
      if (rows?.loops.includes(stmt.variable)) return inner.map((part) => this.#placeRow(part, stmt, rows))
      return [{ ...stmt, body: inner }]
    })
  }

  #stridedLoop(loop: Loop, body: readonly Stmt[]): Stmt {
    const { column, columns } = this.#directive
    const outer = `${loop.variable}o`
    const place = addIndex(scaleIndex(variable(outer), columns), variable(column))
    const rename = substitution(new Map([[loop.variable, place]]), new Map([[column, { low: 0, high: columns - 1 }]]))
    const inner = body.map((part) => mapStmt(part, rename))
    const extent = constantOf(loop.extent)
    const whole = extent !== undefined && extent % columns === 0
    const guarded: Stmt[] = whole
      ? inner
      : [{ kind: 'if', conditions: [{ left: place, right: loop.extent }], body: inner }]
    return { ...loop, variable: outer, extent: ceilDivide(loop.extent, columns), body: guarded }
  }

  /**
   * Invocations beyond the last row repeat the last row's work, in memory of their own, so that all of them meet at
   * barriers and read nothing that nobody wrote; only their results are not stored.
   */
  #placeRow(stmt: Stmt, loop: Loop, rows: RowSpread): Stmt {
    if (!this.#rowExtent || !equalIndex(loop.extent, this.#rowExtent))
      this.#fail(`'${loop.variable}' runs over other rows`)
    const exact = this.#row(rows)
    const last = addIndex(loop.extent, -1)
    const clamped = substitution(new Map([[loop.variable, minIndex(exact, last)]]))
    const ownRow = substitution(new Map([[loop.variable, variable(rows.inner)]]))
    const stored = substitution(new Map([[loop.variable, exact]]))
    const at = (index: Index, rewriter: typeof clamped): Index => rewriter.index?.(index) ?? index
    const value = (expr: Expr): Expr => {
      const local = mapExpr(expr, {
        expr: (part) =>
          part.kind === 'load' && this.#locals.has(part.buffer)
            ? { ...part, indices: part.indices.map((index) => at(index, ownRow)) }
            : part,
      })
      return mapExpr(local, clamped)
    }
    const [changed] = mapBlocks([stmt], (part): Stmt[] => {
      switch (part.kind) {
        case 'for':
          return [{ ...part, extent: at(part.extent, clamped) }]
        case 'if':
          return [
            {
              ...part,
              conditions: part.conditions.map(({ left, right }) => ({
                left: at(left, clamped),
                right: at(right, clamped),
              })),
            },
          ]
        case 'let':
          return [{ ...part, value: value(part.value) }]
        case 'store': {
          const local = this.#locals.has(part.buffer)
          const store = {
            ...part,
            value: value(part.value),
            indices: part.indices.map((index) => at(index, local ? ownRow : stored)),
          }
          return local ? [store] : [{ kind: 'if', conditions: [{ left: exact, right: loop.extent }], body: [store] }]
        }
        case 'barrier':
        case 'prefetch':
        case 'transpose':
          return [part]
      }
    })
    return changed as Stmt
  }

  get #treeName(): string {
    return `${this.#directive.column}_partials`
  }

  /** A reduction over the slots: every invocation puts its partial result where all can read it, and all work out the tree. */
  #expandTrees(body: readonly Stmt[]): Stmt[] {
    const { column, columns, rows } = this.#directive
    return mapBlocks(body, (stmt) => {
      if (stmt.kind !== 'let' || stmt.value.kind !== 'tree') return [stmt]
      if (columns !== TREE) this.#fail(`a tree over ${columns} slots`)
      const { word, buffer } = stmt.value
      const mine = rows ? [variable(rows.inner)] : []
      const put: Stmt = {
        kind: 'store',
        buffer: this.#treeName,
        indices: [...mine, variable(column)],
        value: { kind: 'load', buffer, indices: [{ constant: 0, terms: [] }], type: 'f32', lanes: 1 },
        lanes: 1,
      }
      let level: Expr[] = Array.from({ length: TREE }, (_, slot) => ({
        kind: 'load',
        buffer: this.#treeName,
        indices: [...mine, { constant: slot, terms: [] }],
        type: 'f32',
        lanes: 1,
      }))
      while (level.length > 1) {
        const half = level.length / 2
        level = level
          .slice(0, half)
          .map((low, place) => ({ kind: 'apply', word, args: [low, level[place + half] as Expr], lanes: 1 }))
      }
      this.#usesTree = true
      return [put, { ...stmt, value: level[0] as Expr }]
    })
  }

  /** What all invocations of a row work out is stored by the first. */
  #guardStores(body: readonly Stmt[]): Stmt[] {
    const first: Condition = { left: variable(this.#directive.column), right: { constant: 1, terms: [] } }
    return mapBlocks(body, (stmt) => {
      if (stmt.kind !== 'store' || !this.#isForAll(stmt)) return [stmt]
      return [{ kind: 'if', conditions: [first], body: [stmt] }]
    })
  }

  #isForAll(stmt: Extract<Stmt, { kind: 'store' }>): boolean {
    return !this.#isLocal(stmt.buffer) && !stmt.indices.some((index) => indexMentions(index, this.#directive.column))
  }

  /** Arguments that one invocation overwrites for all: the others must have read them, or read them only behind it. */
  #overwritten(body: readonly Stmt[]): Set<string> {
    const names = new Set<string>()
    visitStmts(body, (stmt) => {
      if (stmt.kind === 'store' && this.#isForAll(stmt)) names.add(stmt.buffer)
    })
    return names
  }

  #isLocal(name: string): boolean {
    return this.#locals.has(name) || name === this.#treeName
  }
}
