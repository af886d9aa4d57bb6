// Random kernels for the round trip through text: every kind of node, names that are also keywords, canonical indices.
// They make no sense beyond that: most of them would not pass the verifier.

import fc from 'fast-check'
import {
  addIndex,
  divideIndex,
  loadedIndex,
  minIndex,
  moduloIndex,
  scaleIndex,
  size,
  variable,
} from '../../compiler/kernel/index.ts'
import type { Index } from '../../compiler/kernel/index.ts'
import { lanesOf, typeOf, valueType } from '../../compiler/kernel/ir.ts'
import type { Binding, Buffer, Condition, Expr, Kernel, Stmt, ValueType } from '../../compiler/kernel/ir.ts'
import { isShift, wordOperands } from '../../compiler/kernel/words.ts'
import type { Word } from '../../compiler/kernel/ir.ts'
import { Choices } from '../support/choices.ts'

const bindings: readonly Binding[] = ['serial', 'grid', 'local', 'lane', 'unroll']
const dtypes = ['f32', 'f16', 'bf16', 'i32', 'bool'] as const
const spaces = ['register', 'scratch', 'workgroup'] as const
const names = [
  'x', 'value', 'min', 'local', 'grid', 'add', 'index', 'read', 'valid', 'f32', 'lane', 'in', 'inner', 'info', 'kernel',
  'and', 'below', 'splat', 'tree', 'div', '_', 'e1', 'barrier', 'transpose', 'prefetch', 'let', 'if', 'sizes', 'truest', 'bool', 'pack', 'ramp',
] // prettier-ignore
const words = Object.keys(wordOperands) as Word[]

interface Scope {
  readonly variables: readonly string[]
  readonly locals: readonly { readonly name: string; readonly type: ValueType; readonly lanes: number }[]
}

class Maker {
  readonly #decisions: Choices
  readonly #floats: readonly number[]
  readonly #unused: string[]
  readonly #sizes: string[]
  readonly #buffers: Buffer[] = []

  constructor(numbers: readonly number[], floats: readonly number[]) {
    this.#decisions = new Choices(numbers)
    this.#floats = floats
    this.#unused = [...names]
    this.#sizes = Array.from({ length: this.#decisions.below(3) }, () => this.#name())
  }

  #name(): string {
    const place = this.#decisions.below(this.#unused.length)
    return this.#unused.splice(place, 1)[0] ?? `n${this.#decisions.below(1000)}_${this.#buffers.length}`
  }

  #buffer(space: Buffer['space']): Buffer {
    const d = this.#decisions
    const dims = Array.from({ length: d.below(3) }, () => ({ size: 1 + d.below(99), stride: d.below(5) }))
    const access = space === 'argument' ? { access: d.pick(['read', 'write', 'update'] as const) } : {}
    const buffer: Buffer = { name: this.#name(), dtype: d.pick(dtypes), space, dims, ...access }
    this.#buffers.push(buffer)
    return buffer
  }

  kernel(): Kernel {
    const d = this.#decisions
    const sizes = this.#sizes.map((name) => ({ name, bound: 1 + d.below(4096) }))
    const parameters = Array.from({ length: 1 + d.below(3) }, () => this.#buffer('argument'))
    const locals = Array.from({ length: d.below(3) }, () => this.#buffer(d.pick(spaces)))
    return {
      name: this.#name(),
      sizes,
      arguments: parameters,
      locals,
      body: this.#body({ variables: [], locals: [] }, 3),
    }
  }

  #body(scope: Scope, depth: number): Stmt[] {
    let inner = scope
    return Array.from({ length: this.#decisions.below(4) }, () => {
      const stmt = this.#stmt(inner, depth)
      if (stmt.kind === 'let') {
        const local = { name: stmt.name, type: typeOf(stmt.value), lanes: lanesOf(stmt.value) }
        inner = { ...inner, locals: [...inner.locals, local] }
      }
      return stmt
    })
  }

  #wordless(scope: Scope): Stmt {
    const d = this.#decisions
    if (d.below(3) === 0) {
      const { name, indices } = this.#access(scope, 2)
      return { kind: 'prefetch', buffer: name, indices }
    }
    return d.below(2) === 0 ? { kind: 'barrier' } : { kind: 'transpose', buffer: d.pick(this.#buffers).name }
  }

  #stmt(scope: Scope, depth: number): Stmt {
    const d = this.#decisions
    switch (d.below(depth > 0 ? 5 : 3)) {
      case 0: {
        const { name, indices, lanes, valid } = this.#access(scope, 2)
        return { kind: 'store', buffer: name, indices, value: this.#expr(scope, 3), lanes, ...(valid ? { valid } : {}) }
      }
      case 1:
        return { kind: 'let', value: this.#expr(scope, 3), name: this.#name() }
      case 2:
        return this.#wordless(scope)
      case 3: {
        const name = this.#name()
        const extent = this.#index(scope, 2)
        const body = this.#body({ ...scope, variables: [...scope.variables, name] }, depth - 1)
        return { kind: 'for', variable: name, extent, binding: d.pick(bindings), body }
      }
      default: {
        const conditions = Array.from({ length: 1 + d.below(2) }, (): Condition => ({
          left: this.#index(scope, 2),
          right: this.#index(scope, 2),
        }))
        return { kind: 'if', conditions, body: this.#body(scope, depth - 1) }
      }
    }
  }

  #access(scope: Scope, depth: number): Buffer & { indices: Index[]; lanes: number; valid: Index | undefined } {
    const d = this.#decisions
    const buffer = d.pick(this.#buffers)
    const indices = buffer.dims.map(() => this.#index(scope, depth))
    return { ...buffer, indices, lanes: 1 + d.below(16), valid: d.below(3) === 1 ? this.#index(scope, 1) : undefined }
  }

  #index(scope: Scope, depth: number): Index {
    const d = this.#decisions
    const parts = Array.from({ length: d.below(4) }, () => scaleIndex(this.#atom(scope, depth), d.below(9) - 4))
    return addIndex(d.below(200) - 100, ...parts)
  }

  #atom(scope: Scope, depth: number): Index {
    const d = this.#decisions
    switch (d.below(depth > 0 ? 6 : 2)) {
      case 0:
        return scope.variables.length > 0 ? variable(d.pick(scope.variables)) : addIndex(1)
      case 1:
        return this.#sizes.length > 0 ? size(d.pick(this.#sizes)) : addIndex(1)
      case 2:
        return divideIndex(this.#index(scope, depth - 1), 1 + d.below(9))
      case 3:
        return moduloIndex(this.#index(scope, depth - 1), 1 + d.below(9))
      case 4:
        return minIndex(this.#index(scope, depth - 1), this.#index(scope, depth - 1))
      default:
        return loadedIndex(this.#expr(scope, 1), 1 + d.below(50257))
    }
  }

  #constant(): Expr {
    const d = this.#decisions
    const type = d.pick(['f32', 'i32', 'bool'] as const)
    if (type === 'bool') return { kind: 'constant', type, value: d.below(2) }
    if (type === 'i32') return { kind: 'constant', type, value: d.pick([0, 7, -7, 2147483647, -2147483648]) }
    return { kind: 'constant', type, value: d.pick(this.#floats) }
  }

  #expr(scope: Scope, depth: number): Expr {
    const d = this.#decisions
    switch (d.below(depth > 0 ? 8 : 3)) {
      case 0:
        return this.#constant()
      case 1:
        return scope.locals.length > 0 ? { kind: 'local', ...d.pick(scope.locals) } : this.#constant()
      case 2:
        return { kind: 'tree', word: d.pick(['add', 'max'] as const), buffer: d.pick(this.#buffers).name }
      case 3:
        return { kind: 'index', index: this.#index(scope, depth - 1) }
      case 4: {
        const { name, dtype, indices, lanes, valid } = this.#access(scope, depth - 1)
        return { kind: 'load', buffer: name, indices, type: valueType(dtype), lanes, ...(valid ? { valid } : {}) }
      }
      case 5: {
        const word = d.pick(words)
        const args = wordOperands[word].map(() => this.#expr(scope, depth - 1))
        const lanes = args[0] ? lanesOf(args[0]) : 1
        return { kind: 'apply', word, args, ...(isShift(word) ? { bits: d.below(32) } : {}), lanes }
      }
      case 6:
        return d.below(2) === 0
          ? { kind: 'splat', value: this.#expr(scope, depth - 1), lanes: 1 + d.below(16) }
          : { kind: 'ramp', index: this.#index(scope, depth - 1), lanes: 1 + d.below(16) }
      default:
        return { kind: 'pack', args: Array.from({ length: 1 + d.below(4) }, () => this.#expr(scope, depth - 1)) }
    }
  }
}

/** Any float32, the special ones often. */
export const anyFloat32 = fc.oneof(
  fc.float(),
  fc.constantFrom(0, -0, 1, NaN, Infinity, -Infinity, Math.fround(0.1), 2 ** 24, 2 ** -149),
)

export const randomKernel: fc.Arbitrary<Kernel> = fc
  .tuple(
    fc.array(fc.nat(), { minLength: 20, maxLength: 400, size: 'max' }),
    fc.array(anyFloat32, { minLength: 1, maxLength: 5 }),
  )
  .map(([numbers, floats]) => new Maker(numbers, floats).kernel())
