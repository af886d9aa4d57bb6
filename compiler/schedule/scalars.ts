// The scalar language as kernel expressions, and the step from a shared expression graph to named values.

import type { Scalars } from '../graph/scalars.ts'
import type { Expr, Stmt, Word } from '../kernel/ir.ts'
import { lanesOf, typeOf } from '../kernel/ir.ts'

const apply =
  (word: Word) =>
  (...args: Expr[]): Expr => ({ kind: 'apply', word, args, lanes: 1 })
const shift =
  (word: Word) =>
  (arg: Expr, bits: number): Expr => ({ kind: 'apply', word, args: [arg], bits, lanes: 1 })

export const exprScalars: Scalars<Expr> = {
  float: (value) => ({ kind: 'constant', type: 'f32', value: Math.fround(value) }),
  int: (value) => ({ kind: 'constant', type: 'i32', value: value | 0 }),
  add: apply('add'),
  sub: apply('sub'),
  mul: apply('mul'),
  div: apply('div'),
  fma: apply('fma'),
  neg: apply('neg'),
  abs: apply('abs'),
  sqrt: apply('sqrt'),
  min: apply('min'),
  max: apply('max'),
  less: apply('less'),
  lessEqual: apply('lessEqual'),
  equal: apply('equal'),
  intLess: apply('intLess'),
  intLessEqual: apply('intLessEqual'),
  intEqual: apply('intEqual'),
  and: apply('and'),
  or: apply('or'),
  not: apply('not'),
  select: apply('select'),
  intSelect: apply('intSelect'),
  intAdd: apply('intAdd'),
  intSub: apply('intSub'),
  intMul: apply('intMul'),
  intAnd: apply('intAnd'),
  intOr: apply('intOr'),
  intXor: apply('intXor'),
  intShiftLeft: shift('intShiftLeft'),
  intShiftRight: shift('intShiftRight'),
  intShiftSigned: shift('intShiftSigned'),
  toInt: apply('toInt'),
  toFloat: apply('toFloat'),
  bitsOf: apply('bitsOf'),
  fromBits: apply('fromBits'),
}

/** `condition ? a : b` for values of any one type. */
export function choose(condition: Expr, a: Expr, b: Expr): Expr {
  const type = typeOf(a)
  if (type === 'f32') return exprScalars.select(condition, a, b)
  if (type === 'i32') return exprScalars.intSelect(condition, a, b)
  return exprScalars.or(exprScalars.and(condition, a), exprScalars.and(exprScalars.not(condition), b))
}

/**
 * Stores as one block. A subexpression object that is used twice gets a name, and every value is computed before the
 * first store, so that an output may overwrite an operand in place.
 */
export function storeBlock(stores: readonly Stmt[], name: (prefix: string) => string): Stmt {
  const namer = new SharedNames(name)
  for (const store of stores) if (store.kind === 'store') namer.count(store.value)
  const values = stores.map((store) => (store.kind === 'store' ? namer.name(store.value) : undefined))
  const last = stores.map((store, index): Stmt => {
    const value = values[index]
    if (store.kind !== 'store' || !value) return store
    if (stores.length === 1 || value.kind === 'constant' || value.kind === 'local') return { ...store, value }
    const local = name('r')
    namer.lets.push({ kind: 'let', name: local, value })
    return { ...store, value: { kind: 'local', name: local, type: typeOf(value), lanes: lanesOf(value) } }
  })
  const body = [...namer.lets, ...last]
  return body.length === 1 && body[0] ? body[0] : { kind: 'if', conditions: [], body }
}

class SharedNames {
  readonly lets: Stmt[] = []
  readonly #fresh: (prefix: string) => string
  readonly #uses = new Map<Expr, number>()
  readonly #named = new Map<Expr, Expr>()

  constructor(fresh: (prefix: string) => string) {
    this.#fresh = fresh
  }

  count(expr: Expr): void {
    const uses = (this.#uses.get(expr) ?? 0) + 1
    this.#uses.set(expr, uses)
    if (uses > 1) return
    if (expr.kind === 'splat') this.count(expr.value)
    else if (expr.kind === 'apply' || expr.kind === 'pack') for (const arg of expr.args) this.count(arg)
  }

  name(expr: Expr): Expr {
    const known = this.#named.get(expr)
    if (known) return known
    let made: Expr = expr
    if (expr.kind === 'apply' || expr.kind === 'pack') made = { ...expr, args: expr.args.map((arg) => this.name(arg)) }
    else if (expr.kind === 'splat') made = { ...expr, value: this.name(expr.value) }
    const trivial = expr.kind === 'constant' || expr.kind === 'local' || expr.kind === 'index'
    if (!trivial && (this.#uses.get(expr) ?? 0) > 1) {
      const local = this.#fresh('t')
      this.lets.push({ kind: 'let', name: local, value: made })
      made = { kind: 'local', name: local, type: typeOf(made), lanes: lanesOf(made) }
    }
    this.#named.set(expr, made)
    return made
  }
}
