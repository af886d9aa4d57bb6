// Refuses a kernel that breaks the IR's promises: names, types, lanes, the shape of the nest, and every index within its
// buffer. What it cannot prove it refuses. It must not know how the kernel was made, nor any backend.

import { InternalError } from '../diagnostic.ts'
import { Bounds } from './bounds.ts'
import { addIndex, constantIndex, constantOf, subtractIndex } from './index.ts'
import type { Atom, Index } from './index.ts'
import { bufferElements, gridOf, lanesOf, typeOf, valueType } from './ir.ts'
import type { Buffer, Expr, Kernel, Stmt, ValueType } from './ir.ts'
import { printExpr, printIndex, statementHead } from './print.ts'
import { isName } from './tokens.ts'
import { isShift, wordOperands } from './words.ts'

export interface VerifyOptions {
  /** After `lowerKernel`: no lane or unroll loops are left, and register indices are constants. */
  readonly lowered?: boolean
}

const GREATEST_INT = 2 ** 31 - 1

/** @throws InternalError naming the kernel, the statement and, for an index, the range that was found. */
export function verifyKernel(kernel: Kernel, options: VerifyOptions = {}): void {
  new Verifier(kernel, options.lowered === true).run()
}

interface Access {
  readonly buffer: string
  readonly indices: readonly Index[]
  readonly lanes: number
  readonly valid?: Index
}

class Verifier {
  readonly #kernel: Kernel
  readonly #lowered: boolean
  readonly #bounds = new Bounds()
  readonly #buffers = new Map<string, Buffer>()
  readonly #sizes = new Set<string>()
  readonly #variables = new Set<string>()
  readonly #values = new Map<string, { readonly type: ValueType; readonly lanes: number }>()
  #statement: Stmt | undefined

  constructor(kernel: Kernel, lowered: boolean) {
    this.#kernel = kernel
    this.#lowered = lowered
  }

  run(): void {
    const { name, sizes, body } = this.#kernel
    if (!isName(name)) this.#fail(`'${name}' cannot be a name`)
    for (const size of sizes) {
      this.#define(size.name)
      if (!isCount(size.bound)) this.#fail(`size '${size.name}' has the bound ${size.bound}`)
      this.#sizes.add(size.name)
      this.#bounds.addSize(size.name, size.bound)
    }
    for (const buffer of this.#kernel.arguments) this.#declare(buffer, true)
    for (const buffer of this.#kernel.locals) this.#declare(buffer, false)
    this.#checkGrid(body)
    this.#block(body)
  }

  #fail(reason: string): never {
    const where = this.#statement ? ` at '${statementHead(this.#statement)}'` : ''
    throw new InternalError(`kernel ${this.#kernel.name}${where}: ${reason}`)
  }

  #define(name: string): void {
    if (!isName(name)) this.#fail(`'${name}' cannot be a name`)
    const taken =
      this.#buffers.has(name) || this.#sizes.has(name) || this.#variables.has(name) || this.#values.has(name)
    if (taken) this.#fail(`the name '${name}' is taken`)
  }

  #declare(buffer: Buffer, isArgument: boolean): void {
    this.#define(buffer.name)
    if ((buffer.space === 'argument') !== isArgument || (buffer.access !== undefined) !== isArgument) {
      this.#fail(`buffer '${buffer.name}' is declared as ${buffer.access ?? 'no access'} in ${buffer.space}`)
    }
    if (buffer.space === 'register' && (buffer.dtype === 'f16' || buffer.dtype === 'bf16')) {
      this.#fail(`register '${buffer.name}' is ${buffer.dtype}, which exists in memory only`)
    }
    for (const dim of buffer.dims) {
      if (!isCount(dim.size) || !(isCount(dim.stride) || (dim.stride === 0 && buffer.access === 'read'))) {
        this.#fail(`buffer '${buffer.name}' has a dimension ${dim.size}:${dim.stride}`)
      }
    }
    if (!Number.isSafeInteger(bufferElements(buffer))) this.#fail(`buffer '${buffer.name}' is larger than any memory`)
    this.#buffers.set(buffer.name, buffer)
  }

  /** A phase and grid loops come first and alone; nothing stands between them or beside them. */
  #checkGrid(body: readonly Stmt[]): void {
    const { phase, body: inner } = gridOf(body)
    if (phase && constantOf(phase.extent) === undefined)
      this.#fail(`the extent of phase loop '${phase.variable}' varies`)
    const search = (stmts: readonly Stmt[]): void => {
      for (const stmt of stmts) {
        if (stmt.kind !== 'for' && stmt.kind !== 'if') continue
        this.#statement = stmt
        if (stmt.kind === 'for' && (stmt.binding === 'grid' || stmt.binding === 'phase'))
          this.#fail(`a ${stmt.binding} loop is not outermost and perfectly nested`)
        search(stmt.body)
      }
    }
    search(inner)
    this.#statement = undefined
  }

  #block(body: readonly Stmt[]): void {
    const defined: string[] = []
    for (const stmt of body) {
      this.#statement = stmt
      this.#visit(stmt, defined)
    }
    for (const name of defined) this.#values.delete(name)
  }

  #visit(stmt: Stmt, defined: string[]): void {
    switch (stmt.kind) {
      case 'for':
        this.#index(stmt.extent)
        this.#define(stmt.variable)
        if (this.#lowered && (stmt.binding === 'lane' || stmt.binding === 'unroll'))
          this.#fail('the loop is not lowered')
        if (this.#bounds.range(stmt.extent) === undefined) this.#fail('the extent has no bound')
        this.#variables.add(stmt.variable)
        this.#bounds.enterLoop(stmt.variable, stmt.extent)
        this.#block(stmt.body)
        this.#bounds.leave()
        this.#variables.delete(stmt.variable)
        return
      case 'if':
        for (const { left, right } of stmt.conditions) {
          this.#index(left)
          this.#index(right)
          this.#bounds.enterGuard(left, right)
        }
        this.#block(stmt.body)
        for (const _ of stmt.conditions) this.#bounds.leave()
        return
      case 'let':
        this.#expr(stmt.value)
        this.#define(stmt.name)
        this.#values.set(stmt.name, { type: typeOf(stmt.value), lanes: lanesOf(stmt.value) })
        defined.push(stmt.name)
        return
      case 'store': {
        this.#expr(stmt.value)
        const buffer = this.#access(stmt)
        if (buffer.access === 'read') this.#fail(`'${buffer.name}' is only read`)
        this.#expect(stmt.value, valueType(buffer.dtype), stmt.lanes)
        return
      }
      case 'barrier':
        return
      case 'prefetch': {
        // Its place may lie outside: no byte of it is read.
        const buffer = this.#buffer(stmt.buffer)
        if (buffer.space !== 'argument') this.#fail(`'${stmt.buffer}' is no memory to fetch from`)
        if (buffer.dims.length !== stmt.indices.length)
          this.#fail(`'${stmt.buffer}' has ${buffer.dims.length} dimensions`)
        return
      }
      case 'transpose': {
        const buffer = this.#kernel.locals.find(({ name }) => name === stmt.buffer)
        const [rows, columns] = buffer?.dims ?? []
        const square = buffer?.dims.length === 2 && rows?.size === columns?.size
        if (!square || buffer?.space !== 'register' || buffer.dtype !== 'f32') {
          this.#fail(`'${stmt.buffer}' is no square of float registers`)
        }
        return
      }
    }
  }

  #expect(expr: Expr, type: ValueType, lanes: number): void {
    const [found, width] = [typeOf(expr), lanesOf(expr)]
    if (found === type && width === lanes) return
    this.#fail(`${printExpr(expr)} is ${found}:${width} where ${type}:${lanes} is wanted`)
  }

  #expr(expr: Expr): void {
    if (!isCount(lanesOf(expr))) this.#fail(`${printExpr(expr)} has ${lanesOf(expr)} lanes`)
    switch (expr.kind) {
      case 'constant':
        return this.#constant(expr.type, expr.value)
      case 'index':
      case 'ramp': {
        this.#index(expr.index)
        const range = this.#bounds.range(expr.index)
        const fits = range && range.low >= -GREATEST_INT - 1 && range.high + lanesOf(expr) - 1 <= GREATEST_INT
        if (!fits) this.#fail(`${printExpr(expr)} may not fit into 32 bits`)
        return
      }
      case 'local': {
        const known = this.#values.get(expr.name)
        if (!known) this.#fail(`'${expr.name}' is not defined here`)
        if (known.type !== expr.type || known.lanes !== expr.lanes) {
          this.#fail(`'${expr.name}' is ${known.type}:${known.lanes}, not ${expr.type}:${expr.lanes}`)
        }
        return
      }
      case 'load': {
        const buffer = this.#access(expr)
        if (expr.type !== valueType(buffer.dtype))
          this.#fail(`'${expr.buffer}' holds ${buffer.dtype}, not ${expr.type}`)
        return
      }
      case 'apply': {
        const operands = wordOperands[expr.word]
        if (expr.args.length !== operands.length)
          this.#fail(`${expr.word} takes ${operands.length} operands, not ${expr.args.length}`)
        const { bits } = expr
        if (
          isShift(expr.word) ? !(Number.isInteger(bits) && Number(bits) >= 0 && Number(bits) < 32) : bits !== undefined
        ) {
          this.#fail(`${expr.word} cannot take ${bits ?? 'no'} bits`)
        }
        for (const [place, arg] of expr.args.entries()) {
          this.#expr(arg)
          this.#expect(arg, operands[place] ?? 'f32', expr.lanes)
        }
        return
      }
      case 'splat':
        this.#expr(expr.value)
        this.#expect(expr.value, typeOf(expr.value), 1)
        return
      case 'pack':
        for (const arg of expr.args) {
          this.#expr(arg)
          this.#expect(arg, typeOf(expr), 1)
        }
        return
      case 'tree': {
        const buffer = this.#buffer(expr.buffer)
        const [dim] = buffer.dims
        const fits =
          buffer.space === 'register' && buffer.dtype === 'f32' && buffer.dims.length === 1 && dim?.size === 16
        if (!fits) this.#fail(`a tree needs a register of 16 floats, which '${buffer.name}' is not`)
        return
      }
    }
  }

  #constant(type: ValueType, value: number): void {
    const holds =
      type === 'f32'
        ? Object.is(Math.fround(value), value)
        : type === 'i32'
          ? Object.is(value | 0, value)
          : Object.is(value, 0) || value === 1
    if (!holds) this.#fail(`the constant ${Object.is(value, -0) ? '-0' : value} is no ${type}`)
  }

  #buffer(name: string): Buffer {
    return this.#buffers.get(name) ?? this.#fail(`there is no buffer '${name}'`)
  }

  #access(access: Access): Buffer {
    const buffer = this.#buffer(access.buffer)
    const { indices, lanes, valid } = access
    if (indices.length !== buffer.dims.length) {
      this.#fail(`'${buffer.name}' has ${buffer.dims.length} dimensions, but ${indices.length} indices are given`)
    }
    if (!isCount(lanes)) this.#fail(`'${buffer.name}' is accessed by ${lanes} lanes`)
    if (lanes > 1 && buffer.dims.at(-1)?.stride !== 1) this.#fail(`the elements of '${buffer.name}' are no neighbours`)
    for (const index of indices) this.#index(index)
    if (valid) {
      this.#index(valid)
      // Only then is anything touched.
      this.#bounds.enterGuard(constantIndex(0), valid)
    }
    for (const [place, index] of indices.entries()) {
      const size = buffer.dims[place]?.size ?? 0
      const last = place === indices.length - 1
      if (this.#lowered && buffer.space === 'register' && constantOf(index) === undefined) {
        this.#fail(`register '${buffer.name}' has the index ${printIndex(index)}, which is no constant`)
      }
      const below = this.#bounds.isNeverNegative(index)
      const room = subtractIndex(size, index)
      const above =
        this.#bounds.isNeverNegative(addIndex(room, last ? -lanes : -1)) ||
        (last && valid !== undefined && this.#bounds.isNeverNegative(subtractIndex(room, valid)))
      if (!below || !above) this.#failBounds(access, index, size, last)
    }
    if (valid) this.#bounds.leave()
    return buffer
  }

  #failBounds(access: Access, index: Index, size: number, last: boolean): never {
    const range = this.#bounds.range(index)
    const found = range ? `${range.low} to ${range.high}` : 'anything'
    const width = last && access.lanes > 1 ? ` with ${access.lanes} lanes` : ''
    this.#fail(
      `index ${printIndex(index)} of '${access.buffer}'${width} may be ${found}, not proven to lie in [0, ${size})`,
    )
  }

  #index(index: Index): void {
    if (!Number.isSafeInteger(index.constant)) this.#fail(`${printIndex(index)} is no integer`)
    for (const { scale, atom } of index.terms) {
      if (!Number.isSafeInteger(scale) || scale === 0) this.#fail(`${printIndex(index)} is no integer`)
      this.#atom(atom)
    }
  }

  #atom(atom: Atom): void {
    switch (atom.kind) {
      case 'variable':
        if (!this.#variables.has(atom.name)) this.#fail(`no loop over '${atom.name}' is open here`)
        return
      case 'size':
        if (!this.#sizes.has(atom.name)) this.#fail(`there is no size '${atom.name}'`)
        return
      case 'div':
      case 'mod':
        if (!isCount(atom.by)) this.#fail(`an index is divided by ${atom.by}`)
        return this.#index(atom.value)
      case 'min':
        this.#index(atom.left)
        return this.#index(atom.right)
      case 'value':
        if (!isCount(atom.below)) this.#fail(`a loaded index has the bound ${atom.below}`)
        this.#expr(atom.value)
        this.#expect(atom.value, 'i32', 1)
        return this.#fixed(atom.value)
    }
  }

  /** Equal text must mean equal value wherever it stands, so loaded indices come from memory that nothing writes. */
  #fixed(expr: Expr): void {
    if (expr.kind === 'load' && this.#buffer(expr.buffer).access !== 'read') {
      this.#fail(`an index is loaded from '${expr.buffer}', which may change`)
    }
    if (expr.kind === 'apply') for (const arg of expr.args) this.#fixed(arg)
  }
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 1
}
