// Expressions and indices of the kernel IR as C++ expressions, through an instruction set's table. Knows no statement
// and no word by name: what a word does is the table's business.

import { InternalError } from '../../../compiler/diagnostic.ts'
import { addIndex, scaleIndex } from '../../../compiler/kernel/index.ts'
import type { Atom, Index } from '../../../compiler/kernel/index.ts'
import { lanesOf, typeOf, valueType } from '../../../compiler/kernel/ir.ts'
import type { Buffer, Expr, Kernel, Stmt, ValueType } from '../../../compiler/kernel/ir.ts'
import { memoryTree } from '../isa/scalar.ts'
import { fill } from '../isa/table.ts'
import type { InstructionSet, Spelling } from '../isa/table.ts'
import { constantText, integerText } from './literal.ts'
import type { Scope } from './names.ts'
import { constantOffset } from './registers.ts'
import type { Storage } from './registers.ts'

export type Load = Extract<Expr, { kind: 'load' }>
export type Store = Extract<Stmt, { kind: 'store' }>

/** Prints the values of one kernel for one instruction set. Everything unprintable is an InternalError. */
export class ValuePrinter {
  readonly #kernel: Kernel
  readonly #isa: InstructionSet
  readonly #storage: ReadonlyMap<string, Storage>
  readonly #buffers: ReadonlyMap<string, Buffer>

  constructor(kernel: Kernel, isa: InstructionSet, storage: ReadonlyMap<string, Storage>) {
    this.#kernel = kernel
    this.#isa = isa
    this.#storage = storage
    this.#buffers = new Map([...kernel.arguments, ...kernel.locals].map((buffer) => [buffer.name, buffer]))
  }

  /** An error that names the kernel. */
  error(message: string): InternalError {
    return new InternalError(`kernel ${this.#kernel.name}: ${message}`)
  }

  /** One lane or the table's lanes; anything else was not lowered for this instruction set. */
  spelling(lanes: number): Spelling {
    if (lanes === 1) return this.#isa.scalar
    if (lanes === this.#isa.lanes) return this.#isa.vector
    throw this.error(`a value of ${lanes} lanes, but ${this.#isa.name} has ${this.#isa.lanes}`)
  }

  typeText(type: ValueType, lanes: number): string {
    return this.spelling(lanes).types[type]
  }

  /** An int64_t expression that is a sum; wrap it before multiplying. */
  index(index: Index, scope: Scope): string {
    const added: string[] = []
    const subtracted: string[] = []
    for (const { scale, atom } of index.terms) {
      const text = this.#atom(atom, scope)
      const factor = Math.abs(scale)
      const list = scale < 0 ? subtracted : added
      list.push(factor === 1 ? text : `${text} * ${integerText(factor)}`)
    }
    if (index.constant > 0) added.push(integerText(index.constant))
    if (index.constant < 0) subtracted.push(integerText(-index.constant))
    if (added.length === 0 && subtracted.length > 0) return `-${subtracted.join(' - ')}`
    return [added.length === 0 ? '0' : added.join(' + '), ...subtracted].join(' - ')
  }

  #atom(atom: Atom, scope: Scope): string {
    switch (atom.kind) {
      case 'variable':
      case 'size':
        return this.#name(atom.kind, atom.name, scope)
      // Indices are never negative where they are divided, so truncation is the floor.
      case 'div':
        return `(${this.index(atom.value, scope)}) / ${integerText(atom.by)}`
      case 'mod':
        return `(${this.index(atom.value, scope)}) % ${integerText(atom.by)}`
      case 'min':
        return `least_index(${this.index(atom.left, scope)}, ${this.index(atom.right, scope)})`
      case 'value':
        return `(int64_t)(${this.value(atom.value, scope)})`
    }
  }

  #name(kind: 'variable' | 'size' | 'local' | 'buffer', name: string, scope: Scope): string {
    const text = scope.use(kind, name)
    if (text === undefined) throw this.error(`no ${kind} '${name}' is in scope`)
    return text
  }

  /** A value with the lanes it has. */
  value(expr: Expr, scope: Scope): string {
    switch (expr.kind) {
      case 'constant':
        return constantText(expr.type, expr.value)
      case 'index':
        return `(int32_t)(${this.index(expr.index, scope)})`
      case 'local':
        return this.#name('local', expr.name, scope)
      case 'load':
        return this.#load(expr, scope)
      case 'apply': {
        const taking = this.#byLane(expr, scope)
        if (taking !== undefined) return taking
        const operands = expr.args.map((arg) => this.widened(arg, expr.lanes, scope))
        return fill(this.spelling(expr.lanes).words[expr.word], operands, expr.bits)
      }
      case 'splat':
        return this.widened(expr.value, expr.lanes, scope)
      case 'ramp':
        this.spelling(expr.lanes)
        if (expr.lanes === 1) return `(int32_t)(${this.index(expr.index, scope)})`
        return fill(this.#isa.vector.ramp, [`(int32_t)(${this.index(expr.index, scope)})`])
      case 'pack': {
        const operands = expr.args.map((arg) => this.value(arg, scope))
        this.spelling(operands.length)
        return operands.length === 1 ? (operands[0] ?? '') : fill(this.#isa.vector.pack[typeOf(expr)], operands)
      }
      case 'tree':
        return this.#tree(expr.word, expr.buffer, scope)
    }
  }

  /** A value with the lanes its surroundings have: a scalar among vectors stands for itself in every lane. */
  widened(expr: Expr, lanes: number, scope: Scope): string {
    const text = this.value(expr, scope)
    const own = lanesOf(expr)
    if (own === lanes) return text
    if (own !== 1) throw this.error(`a value of ${own} lanes where ${lanes} are wanted`)
    this.spelling(lanes)
    return fill(this.#isa.vector.splat[typeOf(expr)], [text])
  }

  buffer(name: string): Buffer {
    const found = this.#buffers.get(name)
    if (!found) throw this.error(`there is no buffer '${name}'`)
    return found
  }

  /** The variable that holds register elements from a constant offset on. */
  variable(buffer: Buffer, offset: number, scope: Scope): string {
    return this.#name('buffer', registerKey(buffer, offset), scope)
  }

  #load(load: Load, scope: Scope): string {
    const buffer = this.buffer(load.buffer)
    const kept = this.#kept(buffer, load.indices)
    if (kept !== undefined) {
      const picked = this.#picked(load, scope)
      if (picked === undefined) return this.variable(buffer, kept, scope)
      return fill(this.#isa.vector.byLane?.lane ?? '', [picked.vector], picked.lane)
    }
    const spelling = this.spelling(load.lanes)
    const place = this.place(buffer, load.indices, load.lanes, scope)
    if (load.valid === undefined) return fill(spelling.load[buffer.dtype], [place])
    return fill(spelling.loadPartial[buffer.dtype], [place, this.index(load.valid, scope)])
  }

  /** Offset of the variable that keeps these elements; undefined for what lies in memory. */
  #kept(buffer: Buffer, indices: readonly Index[]): number | undefined {
    return this.#storage.get(buffer.name)?.kind === 'variables' ? constantOffset(buffer, indices) : undefined
  }

  /** The vector of registers, and its lane, that a load of one element takes; undefined for any other value. */
  #picked(expr: Expr, scope: Scope): { readonly vector: string; readonly lane: number } | undefined {
    if (expr.kind !== 'load' || expr.lanes !== 1) return undefined
    const buffer = this.buffer(expr.buffer)
    const storage = this.#storage.get(buffer.name)
    const offset = this.#kept(buffer, expr.indices)
    if (offset === undefined || storage?.kind !== 'variables' || storage.lanes === 1) return undefined
    const lane = offset % storage.lanes
    return { vector: this.variable(buffer, offset - lane, scope), lane }
  }

  /** A word one of whose factors is a splat of a register's lane, where the table has an instruction for that. */
  #byLane(expr: Extract<Expr, { kind: 'apply' }>, scope: Scope): string | undefined {
    const template = this.#isa.vector.byLane?.words[expr.word]
    if (template === undefined || expr.lanes !== this.#isa.lanes) return undefined
    for (const place of [1, 0]) {
      const arg = expr.args[place]
      const picked = arg?.kind === 'splat' ? this.#picked(arg.value, scope) : undefined
      if (!picked) continue
      const others = expr.args.filter((each) => each !== arg).map((each) => this.widened(each, expr.lanes, scope))
      return fill(template, [others[0] ?? '', picked.vector, ...others.slice(1)], picked.lane)
    }
    return undefined
  }

  /** The transposition of a square of registers as a C++ statement. */
  transpose(name: string, scope: Scope): string {
    const buffer = this.buffer(name)
    const { lanes, vector } = this.#isa
    const fits = buffer.dims.every(({ size }) => size === lanes) && this.#storage.get(name)?.kind === 'variables'
    if (!fits) throw this.error(`'${name}' is no square of ${lanes} vectors`)
    const rows = Array.from({ length: lanes }, (_, row) => this.variable(buffer, row * lanes, scope))
    return `${fill(vector.transpose, rows)};`
  }

  /** A call into the second-level cache as a C++ statement; compilers know it for every instruction set. */
  prefetch({ buffer: name, indices }: Extract<Stmt, { kind: 'prefetch' }>, scope: Scope): string {
    const buffer = this.buffer(name)
    if (buffer.space !== 'argument') throw this.error(`${name} is no memory to fetch from`)
    return `__builtin_prefetch(&${this.place(buffer, indices, 1, scope)}, 0, 2);`
  }

  /** A store as a C++ statement. */
  store(store: Store, scope: Scope): string {
    const buffer = this.buffer(store.buffer)
    const value = this.widened(store.value, store.lanes, scope)
    const type = valueType(buffer.dtype)
    if (typeOf(store.value) !== type)
      throw this.error(`${typeOf(store.value)} stored in ${buffer.name}, which has ${type}`)
    const kept = this.#kept(buffer, store.indices)
    if (kept !== undefined) return `${this.variable(buffer, kept, scope)} = ${value};`
    if (buffer.dtype === 'f16' || buffer.dtype === 'bf16')
      throw this.error(`${buffer.name} is ${buffer.dtype}: only read`)
    const spelling = this.spelling(store.lanes)
    const place = this.place(buffer, store.indices, store.lanes, scope)
    if (store.valid === undefined) return `${fill(spelling.store[type], [place, value])};`
    return `${fill(spelling.storePartial[type], [place, value, this.index(store.valid, scope)])};`
  }

  /** The element in memory, or its address for a vector. */
  place(buffer: Buffer, indices: readonly Index[], lanes: number, scope: Scope): string {
    const name = this.#name('buffer', buffer.name, scope)
    const flat = addIndex(...indices.map((index, dimension) => scaleIndex(index, buffer.dims[dimension]?.stride ?? 0)))
    const offset = this.index(flat, scope)
    if (lanes === 1) return `${name}[${offset}]`
    return offset === '0' ? name : `&${name}[${offset}]`
  }

  #tree(word: 'add' | 'max', name: string, scope: Scope): string {
    const buffer = this.buffer(name)
    const storage = this.#storage.get(name)
    if (storage?.kind === 'array') return fill(memoryTree[word], [this.#name('buffer', name, scope)])
    if (storage?.kind !== 'variables') throw this.error(`a tree over ${name}, which is no register buffer`)
    const vectors = [...storage.elements].sort((a, b) => a - b).map((offset) => this.variable(buffer, offset, scope))
    return fill(this.#isa.vector.tree[word], vectors)
  }
}

/** Name under which a variable of a register buffer is declared in a scope: `acc 16`. */
export function registerKey(buffer: Buffer, offset: number): string {
  return `${buffer.name} ${offset}`
}
