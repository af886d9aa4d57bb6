// One lowered kernel as two C++ functions: how many grid points it has, and running a range of them. Loops, lets and
// stores are printed as they stand; nothing is decided here. Knows no program.

import { dtypeBytes } from '../../../compiler/graph/axis.ts'
import { variablesOf } from '../../../compiler/kernel/index.ts'
import type { Index } from '../../../compiler/kernel/index.ts'
import { bufferElements, gridOf, lanesOf, typeOf, valueType } from '../../../compiler/kernel/ir.ts'
import type { Buffer, Kernel, Loop, Stmt } from '../../../compiler/kernel/ir.ts'
import type { InstructionSet } from '../isa/table.ts'
import { integerText, storedTypes } from './literal.ts'
import { nameText, Scope } from './names.ts'
import { registerStorage } from './registers.ts'
import type { Storage } from './registers.ts'
import { registerKey, ValuePrinter } from './values.ts'

const SCRATCH_ALIGNMENT = 64

export interface KernelOptions {
  /** Name of the C++ function; the kernel's own unless given. */
  readonly name?: string
  /** Names of the run-time extents in the order in which `sizes` passes them; the kernel's own order unless given. */
  readonly sizes?: readonly string[]
}

/** Offsets in bytes of a kernel's scratch buffers, each a multiple of 64. */
function scratchOffsets(kernel: Kernel): { offsets: ReadonlyMap<string, number>; bytes: number } {
  const offsets = new Map<string, number>()
  let bytes = 0
  for (const buffer of kernel.locals) {
    if (buffer.space !== 'scratch') continue
    offsets.set(buffer.name, bytes)
    const size = bufferElements(buffer) * dtypeBytes[buffer.dtype]
    bytes += Math.ceil(size / SCRATCH_ALIGNMENT) * SCRATCH_ALIGNMENT
  }
  return { offsets, bytes }
}

/** Scratch memory that one thread needs to run the kernel, in bytes: a multiple of 64. */
export function scratchBytes(kernel: Kernel): number {
  return scratchOffsets(kernel).bytes
}

/**
 * C++ of a kernel whose only vectors are `isa.lanes` wide and whose `lane` and `unroll` loops are gone:
 * `static int64_t NAME_grid(sizes)` and `static void NAME(sizes, arguments, scratch, begin, end)`, which runs the points
 * begin … end − 1 of its row-major grid. It needs `isa.prelude` in front of it. InternalError for anything not lowered.
 */
export function emitKernel(kernel: Kernel, isa: InstructionSet, options: KernelOptions = {}): string {
  return new KernelPrinter(kernel, isa, options).print()
}

class KernelPrinter {
  readonly #kernel: Kernel
  readonly #isa: InstructionSet
  readonly #name: string
  readonly #sizes: readonly string[]
  readonly #values: ValuePrinter
  readonly #storage: ReadonlyMap<string, Storage>

  constructor(kernel: Kernel, isa: InstructionSet, options: KernelOptions) {
    this.#kernel = kernel
    this.#isa = isa
    this.#name = options.name ?? `kernel_${nameText(kernel.name)}`
    this.#sizes = options.sizes ?? kernel.sizes.map((size) => size.name)
    this.#storage = registerStorage(kernel, isa)
    this.#values = new ValuePrinter(kernel, isa, this.#storage)
    const foreign = kernel.locals.find((buffer) => buffer.space === 'workgroup' || buffer.space === 'argument')
    if (foreign) throw this.#values.error(`local buffer ${foreign.name} is in ${foreign.space} memory`)
  }

  print(): string {
    // A phase is the slowest part of a point: the run-time calls the points of one phase after those of the one before.
    const { phase, loops, body } = gridOf(this.#kernel.body)
    const grid = phase ? [phase, ...loops] : loops
    for (const loop of grid) {
      if (variablesOf(loop.extent).size > 0) throw this.#values.error(`the extent of grid loop ${loop.variable} varies`)
    }
    return [...this.#gridFunction(grid), '', ...this.#runFunction(grid, body), ''].join('\n')
  }

  #gridFunction(grid: readonly Loop[]): string[] {
    const scope = new Scope(this.#isa)
    this.#kernel.sizes.forEach((size) => scope.declare('size', size.name))
    const factors = grid.map((loop) => `(${this.#values.index(loop.extent, scope)})`)
    // A product that overflows would need arrays that no memory holds; the cast keeps small extents from being ints.
    const points = factors.length === 0 ? '1' : `(int64_t)${factors.join(' * ')}`
    return [
      `static int64_t ${this.#name}_grid(const int32_t* sizes) {`,
      ...this.#sizeLines(scope),
      `  return ${points};`,
      '}',
    ]
  }

  #runFunction(grid: readonly Loop[], body: readonly Stmt[]): string[] {
    const scope = new Scope(this.#isa)
    this.#kernel.sizes.forEach((size) => scope.declare('size', size.name))
    const { offsets } = scratchOffsets(this.#kernel)
    const memory = [...this.#kernel.arguments, ...this.#kernel.locals.filter((buffer) => buffer.space === 'scratch')]
    memory.forEach((buffer) => scope.declare('buffer', buffer.name))

    const lines = grid.length === 0 ? this.#single(body, scope) : this.#points(grid, body, scope)

    const pointers: string[] = []
    let uses = { arguments: false, scratch: false }
    for (const [position, buffer] of this.#kernel.arguments.entries()) {
      if (!scope.isUsed('buffer', buffer.name)) continue
      uses = { ...uses, arguments: true }
      pointers.push(pointerLine(buffer, scope, `arguments[${position}]`))
    }
    for (const buffer of this.#kernel.locals) {
      const offset = offsets.get(buffer.name)
      if (offset === undefined || !scope.isUsed('buffer', buffer.name)) continue
      uses = { ...uses, scratch: true }
      pointers.push(pointerLine(buffer, scope, `(scratch + ${integerText(offset)})`))
    }
    return [
      `static void ${this.#name}(const int32_t* sizes, void* const* arguments, unsigned char* scratch, int64_t begin, int64_t end) {`,
      ...this.#sizeLines(scope),
      ...(uses.arguments ? [] : ['  (void)arguments;']),
      ...(uses.scratch ? [] : ['  (void)scratch;']),
      ...pointers,
      ...lines,
      '}',
    ]
  }

  /** Sizes that the lines printed so far used. */
  #sizeLines(scope: Scope): string[] {
    const used = this.#kernel.sizes.filter((size) => scope.isUsed('size', size.name))
    if (used.length === 0) return ['  (void)sizes;']
    return used.map(({ name }) => {
      const position = this.#sizes.indexOf(name)
      if (position < 0) throw this.#values.error(`size '${name}' is none of the program's`)
      return `  const int64_t ${scope.use('size', name)} = sizes[${position}];`
    })
  }

  #single(body: readonly Stmt[], scope: Scope): string[] {
    return ['  if (begin >= end) return;', ...this.#registers(scope, '  '), ...this.#block(body, scope.inner(), '  ')]
  }

  #points(grid: readonly Loop[], body: readonly Stmt[], scope: Scope): string[] {
    const [only] = grid
    const inner = scope.inner()
    if (grid.length === 1 && only) {
      const { text: name } = inner.declare('variable', only.variable)
      return [
        `  for (int64_t ${name} = begin; ${name} < end; ${name}++) {`,
        ...this.#registers(inner, '    '),
        ...this.#block(body, inner, '    '),
        '  }',
      ]
    }
    // The innermost loop runs fastest. The outermost needs no remainder: points lie inside the grid.
    const before: string[] = []
    const decoded: { loop: Loop; name: string; text: string }[] = []
    let rest = 'point'
    for (const loop of grid.toReversed()) {
      const { text: name } = inner.declare('variable', loop.variable)
      if (decoded.length === grid.length - 1) {
        decoded.push({ loop, name, text: rest })
        continue
      }
      const extent = scope.fresh(`${loop.variable}_extent`)
      before.push(`  const int64_t ${extent} = ${this.#values.index(loop.extent, scope)};`)
      decoded.push({ loop, name, text: `${rest} % ${extent}` })
      rest = `${rest} / ${extent}`
    }
    const lines = [...this.#registers(inner, '    '), ...this.#block(body, inner, '    ')]
    const variables = decoded
      .toReversed()
      .map(
        ({ loop, name, text }) =>
          `    ${unusedMark(inner.isUsed('variable', loop.variable))}const int64_t ${name} = ${text};`,
      )
    return [...before, '  for (int64_t point = begin; point < end; point++) {', ...variables, ...lines, '  }']
  }

  /** Declarations of the register buffers: a variable per vector or scalar, or an array. */
  #registers(scope: Scope, indent: string): string[] {
    const lines: string[] = []
    for (const buffer of this.#kernel.locals) {
      const storage = this.#storage.get(buffer.name)
      if (storage === undefined) continue
      if (buffer.dtype === 'f16' || buffer.dtype === 'bf16') {
        throw this.#values.error(`register buffer ${buffer.name} is ${buffer.dtype}, which exists in memory only`)
      }
      if (storage.kind === 'array') {
        const { text: name } = scope.declare('buffer', buffer.name)
        lines.push(
          `${indent}alignas(64) ${storedTypes[buffer.dtype]} ${name}[${integerText(bufferElements(buffer))}] = {};`,
        )
        continue
      }
      const type = this.#values.typeText(valueType(buffer.dtype), storage.lanes)
      for (const offset of [...storage.elements].sort((a, b) => a - b)) {
        const wanted = registerName(buffer, offset, storage.lanes)
        const { text: name } = scope.declare('buffer', registerKey(buffer, offset), wanted)
        lines.push(`${indent}${type} ${name} = {};`)
      }
    }
    return lines
  }

  #block(body: readonly Stmt[], scope: Scope, indent: string): string[] {
    // Whether a let is used is known only when the rest of the block has been printed.
    const pieces = body.map((stmt) => this.#statement(stmt, scope, indent))
    return pieces.flatMap((piece) => piece())
  }

  #statement(stmt: Stmt, scope: Scope, indent: string): () => string[] {
    switch (stmt.kind) {
      case 'for':
        return constantly(this.#loop(stmt, scope, indent))
      case 'if': {
        const tests = stmt.conditions.map(
          ({ left, right }) => `${this.#values.index(left, scope)} < ${this.#values.index(right, scope)}`,
        )
        const test = tests.length === 0 ? 'true' : tests.join(' && ')
        return constantly([
          `${indent}if (${test}) {`,
          ...this.#block(stmt.body, scope.inner(), `${indent}  `),
          `${indent}}`,
        ])
      }
      case 'store':
        return constantly([`${indent}${this.#values.store(stmt, scope)}`])
      case 'let': {
        const value = this.#values.value(stmt.value, scope)
        const type = this.#values.typeText(typeOf(stmt.value), lanesOf(stmt.value))
        const entry = scope.declare('local', stmt.name)
        return () => [`${indent}${unusedMark(entry.used)}const ${type} ${entry.text} = ${value};`]
      }
      case 'prefetch':
        return constantly([`${indent}${this.#values.prefetch(stmt, scope)}`])
      case 'transpose':
        return constantly([`${indent}${this.#values.transpose(stmt.buffer, scope)}`])
      case 'barrier':
        throw this.#values.error('a barrier, which a CPU has no use for')
    }
  }

  #loop(loop: Loop, scope: Scope, indent: string): string[] {
    if (loop.binding !== 'serial') throw this.#values.error(`loop ${loop.variable} is '${loop.binding}' here`)
    const inner = scope.inner()
    const extent = this.#values.index(loop.extent, scope)
    const { text: name } = inner.declare('variable', loop.variable)
    const body = this.#block(loop.body, inner, `${indent}  `)
    // The extent is evaluated once, so that the compiler need not prove that the body leaves it alone.
    let head = `int64_t ${name} = 0; ${name} < ${extent}`
    if (!isPlain(loop.extent)) {
      const end = inner.fresh(`${loop.variable}_end`)
      head = `int64_t ${name} = 0, ${end} = ${extent}; ${name} < ${end}`
    }
    return [`${indent}for (${head}; ${name}++) {`, ...body, `${indent}}`]
  }
}

function isPlain(extent: Index): boolean {
  return extent.terms.every(({ atom }) => atom.kind === 'variable' || atom.kind === 'size')
}

function constantly(lines: string[]): () => string[] {
  return () => lines
}

function unusedMark(used: boolean): string {
  return used ? '' : '[[maybe_unused]] '
}

/**
 * A pointer to a buffer in memory. No launch binds overlapping memory to two arguments of which one is written, which is
 * what `__restrict` promises; `emitProgram` checks it.
 */
function pointerLine(buffer: Buffer, scope: Scope, from: string): string {
  const qualifier = buffer.space === 'argument' && buffer.access === 'read' ? 'const ' : ''
  const type = `${qualifier}${storedTypes[buffer.dtype]}*`
  return `  ${type} __restrict ${scope.use('buffer', buffer.name)} = (${type})${from};`
}

/** `acc_3_1`: the element's indices, the last one in vectors; the flat position where that has a remainder. */
function registerName(buffer: Buffer, offset: number, lanes: number): string {
  const indices: number[] = []
  let rest = offset
  for (const { size, stride } of buffer.dims) {
    const index = stride === 0 ? 0 : Math.min(size - 1, Math.floor(rest / stride))
    indices.push(index)
    rest -= index * stride
  }
  const last = indices.pop() ?? 0
  const whole = rest === 0 && last % lanes === 0
  return [buffer.name, ...(whole ? [...indices, last / lanes] : [offset / lanes])].join('_')
}
