// Expressions and indices of the kernel IR as WGSL expressions. Knows no statement, and no word by name: what a word
// does is the table's business.

import { InternalError } from '../../../compiler/diagnostic.ts'
import { addIndex, constantOf, scaleIndex } from '../../../compiler/kernel/index.ts'
import type { Atom, Index } from '../../../compiler/kernel/index.ts'
import { lanesOf, typeOf, valueType } from '../../../compiler/kernel/ir.ts'
import type { Buffer, Expr, Kernel, Stmt, ValueType } from '../../../compiler/kernel/ir.ts'
import type { Names } from './names.ts'
import { fill, helpersIn, loads, stored, words } from './words.ts'
import type { Template, Uncommon } from './words.ts'

/** Prints the values of one kernel and notes which helpers they call. Everything unprintable is an InternalError. */
export class ValuePrinter {
  readonly #kernel: Kernel
  readonly #names: Names
  readonly #buffers: ReadonlyMap<string, Buffer>
  /** Names of helper functions and of uncommon constants that were printed. */
  readonly used = new Set<string>()
  usesSizes = false

  constructor(kernel: Kernel, names: Names) {
    this.#kernel = kernel
    this.#names = names
    this.#buffers = new Map([...kernel.arguments, ...kernel.locals].map((buffer) => [buffer.name, buffer]))
  }

  error(message: string): InternalError {
    return new InternalError(`kernel ${this.#kernel.name}: ${message}`)
  }

  /** An i32 expression that is a sum; wrap it before multiplying. */
  index(index: Index): string {
    const added: string[] = []
    const subtracted: string[] = []
    for (const { scale, atom } of index.terms) {
      const factor = Math.abs(scale)
      const text = this.#atom(atom)
      ;(scale < 0 ? subtracted : added).push(factor === 1 ? text : `${text} * ${this.integer(factor)}`)
    }
    if (index.constant > 0) added.push(this.integer(index.constant))
    if (index.constant < 0) subtracted.push(this.integer(-index.constant))
    if (added.length === 0 && subtracted.length > 0) return `-${subtracted.join(' - ')}`
    return [added.length === 0 ? '0' : added.join(' + '), ...subtracted].join(' - ')
  }

  /** A whole number; memory beyond 2³¹ elements cannot be addressed here. */
  integer(value: number): string {
    if (!Number.isInteger(value) || value < 0 || value > 0x7fffffff)
      throw this.error(`${value} does not fit into an i32`)
    return String(value)
  }

  #atom(atom: Atom): string {
    switch (atom.kind) {
      case 'variable':
        return this.#names.of('variable', atom.name)
      case 'size':
        this.usesSizes = true
        return `sizes.${this.#names.of('size', atom.name)}`
      // Indices are never negative where they are divided, so truncation is the floor.
      case 'div':
        return `((${this.index(atom.value)}) / ${this.integer(atom.by)})`
      case 'mod':
        return `((${this.index(atom.value)}) % ${this.integer(atom.by)})`
      case 'min':
        return `min(${this.index(atom.left)}, ${this.index(atom.right)})`
      case 'value':
        return this.value(atom.value)
    }
  }

  value(expr: Expr): string {
    if (lanesOf(expr) !== 1) throw this.error(`a value of ${lanesOf(expr)} lanes, which this dialect has not`)
    switch (expr.kind) {
      case 'constant':
        return this.#constant(expr.type, expr.value)
      case 'index':
      case 'ramp': {
        const constant = constantOf(expr.index)
        return constant === undefined ? `(${this.index(expr.index)})` : this.#constant('i32', constant)
      }
      case 'local':
        return this.#names.of('local', expr.name)
      case 'load':
        return this.#load(expr)
      case 'apply':
        return this.#fill(
          words[expr.word],
          expr.args.map((arg) => this.value(arg)),
          expr.bits,
        )
      case 'splat':
        return this.value(expr.value)
      case 'pack':
        return this.value(expr.args[0] as Expr)
      case 'tree':
        throw this.error(`a tree over ${expr.buffer}, which no schedule shared out`)
    }
  }

  #fill(template: Template, operands: readonly string[], bits?: number): string {
    for (const name of helpersIn(template)) this.used.add(name)
    return fill(template, operands, bits)
  }

  #constant(type: ValueType, value: number): string {
    if (type === 'bool') return value === 0 ? 'false' : 'true'
    if (type === 'i32') {
      if (value !== (value | 0)) throw this.error(`${value} is no 32-bit integer constant`)
      if (value === -2147483648) return '(-2147483647 - 1)'
      return value < 0 ? `(${value})` : String(value)
    }
    if (Number.isNaN(value)) return this.#uncommon('not_a_number')
    if (!Number.isFinite(value)) return value > 0 ? this.#uncommon('infinity') : `(-${this.#uncommon('infinity')})`
    // In full: the shortest text of the largest float32 lies above it, which WGSL refuses.
    const digits = String(Math.abs(value))
    const text = `${/[.e]/.test(digits) ? digits : `${digits}.0`}f`
    return value < 0 || Object.is(value, -0) ? `(-${text})` : text
  }

  #uncommon(name: Uncommon): string {
    this.used.add(name)
    return `bitcast<f32>(${name})`
  }

  buffer(name: string): Buffer {
    const found = this.#buffers.get(name)
    if (!found) throw this.error(`there is no buffer '${name}'`)
    return found
  }

  /** Offset of an element in its buffer. */
  offset(buffer: Buffer, indices: readonly Index[]): Index {
    return addIndex(...indices.map((index, dimension) => scaleIndex(index, buffer.dims[dimension]?.stride ?? 0)))
  }

  /** The variable that keeps an element of a register buffer, whose places are constants. */
  register(buffer: Buffer, indices: readonly Index[]): string {
    const offset = constantOf(this.offset(buffer, indices))
    if (offset === undefined) throw this.error(`register ${buffer.name} at a place that is no constant`)
    return this.#names.of('buffer', `${buffer.name} ${offset}`)
  }

  #load(load: Extract<Expr, { kind: 'load' }>): string {
    if (load.valid) throw this.error(`a partial load of ${load.buffer}, which this dialect has not`)
    const buffer = this.buffer(load.buffer)
    if (buffer.space === 'register') return this.register(buffer, load.indices)
    const template = buffer.space === 'argument' ? loads[buffer.dtype] : '$1[$2]'
    return this.#fill(template, [this.#names.of('buffer', buffer.name), this.index(this.offset(buffer, load.indices))])
  }

  /** A store as a WGSL statement. */
  store(store: Extract<Stmt, { kind: 'store' }>): string {
    if (store.valid || store.lanes !== 1)
      throw this.error(`a vector store to ${store.buffer}, which this dialect has not`)
    const buffer = this.buffer(store.buffer)
    const value = this.value(store.value)
    if (typeOf(store.value) !== valueType(buffer.dtype))
      throw this.error(`${typeOf(store.value)} stored in ${buffer.name}`)
    if (buffer.space === 'register') return `${this.register(buffer, store.indices)} = ${value};`
    const template = buffer.space === 'argument' ? stored[buffer.dtype] : '$1'
    if (template === undefined) throw this.error(`${buffer.name} is ${buffer.dtype}: only read`)
    const place = this.index(this.offset(buffer, store.indices))
    return `${this.#names.of('buffer', buffer.name)}[${place}] = ${fill(template, [value])};`
  }
}
