// One lowered kernel as a WGSL compute shader, and how many workgroups it is dispatched with. Loops, lets, stores and
// barriers are printed as they stand; nothing is decided here. Knows no program and no device but its limits.

import { dtypeBytes } from '../../../compiler/graph/axis.ts'
import { constantOf, variablesOf } from '../../../compiler/kernel/index.ts'
import type { Index } from '../../../compiler/kernel/index.ts'
import { bufferElements, typeOf, valueType } from '../../../compiler/kernel/ir.ts'
import type { Buffer, Kernel, Loop, Stmt } from '../../../compiler/kernel/ir.ts'
import type { GpuLimits } from '../../../compiler/schedule/gpuProfile.ts'
import { Names, nameText } from './names.ts'
import { ValuePrinter } from './values.ts'
import { helpers, storedTypes, uncommon, valueTypes } from './words.ts'

export interface ShaderOptions {
  /** Names of the run-time extents in the order in which the uniform buffer holds them; the kernel's own unless given. */
  readonly sizes?: readonly string[]
}

export interface Shader {
  /** Name of the entry point. */
  readonly entry: string
  readonly code: string
  /** Whether binding 0 is the uniform buffer of sizes, one i32 each; arguments are bindings 1, 2, … in any case. */
  readonly usesSizes: boolean
  /** Invocations of a workgroup, innermost first. */
  readonly invocations: readonly [number, number, number]
}

/**
 * WGSL of a kernel without lanes and without unrolled loops: grid loops are workgroups, counted along x and y, local
 * loops its invocations. InternalError for anything not lowered and for what the limits forbid.
 */
export function emitShader(kernel: Kernel, limits: GpuLimits, options: ShaderOptions = {}): Shader {
  return new ShaderPrinter(kernel, limits, options).print()
}

/** The grid loops around everything, and what is inside. */
function gridOf(kernel: Kernel): { grid: Loop[]; body: readonly Stmt[] } {
  return leading(kernel.body, 'grid')
}

function leading(body: readonly Stmt[], binding: 'grid' | 'local'): { grid: Loop[]; body: readonly Stmt[] } {
  const grid: Loop[] = []
  let inner = body
  for (let only = inner[0]; inner.length === 1 && only?.kind === 'for' && only.binding === binding; only = inner[0]) {
    grid.push(only)
    inner = only.body
  }
  return { grid, body: inner }
}

/** Value of an index over sizes alone. */
function evaluate(index: Index, sizes: Readonly<Record<string, number>>): number {
  return index.terms.reduce((sum, { scale, atom }) => {
    switch (atom.kind) {
      case 'size':
        return sum + scale * (sizes[atom.name] ?? Number.NaN)
      case 'div':
        return sum + scale * Math.floor(evaluate(atom.value, sizes) / atom.by)
      case 'mod':
        return sum + scale * (evaluate(atom.value, sizes) % atom.by)
      case 'min':
        return sum + scale * Math.min(evaluate(atom.left, sizes), evaluate(atom.right, sizes))
      default:
        return Number.NaN
    }
  }, index.constant)
}

/** Workgroups to dispatch along x, y and z for these sizes: the shader skips those beyond the grid's end. */
export function workgroupCounts(
  kernel: Kernel,
  sizes: Readonly<Record<string, number>>,
  limits: GpuLimits,
): [number, number, number] {
  const points = gridOf(kernel).grid.reduce((product, loop) => product * evaluate(loop.extent, sizes), 1)
  const most = limits.workgroupsPerDimension
  const x = Math.min(points, most)
  const y = Math.ceil(points / x)
  if (!Number.isSafeInteger(points) || points < 1 || y > most || points > 0x7fffffff) {
    throw new ValuePrinter(kernel, new Names()).error(`${points} workgroups cannot be dispatched`)
  }
  return [x, y, 1]
}

class ShaderPrinter {
  readonly #kernel: Kernel
  readonly #limits: GpuLimits
  readonly #sizes: readonly string[]
  readonly #names = new Names()
  readonly #values: ValuePrinter

  constructor(kernel: Kernel, limits: GpuLimits, options: ShaderOptions) {
    this.#kernel = kernel
    this.#limits = limits
    this.#sizes = options.sizes ?? kernel.sizes.map((size) => size.name)
    this.#values = new ValuePrinter(kernel, this.#names)
    for (const { name } of kernel.sizes) {
      if (!this.#sizes.includes(name)) throw this.#values.error(`size '${name}' is none of the program's`)
    }
    // Fields first, so that they keep their plain names.
    for (const name of this.#sizes) this.#names.of('size', name)
    for (const buffer of [...kernel.arguments, ...kernel.locals]) {
      if (buffer.space !== 'register') this.#names.of('buffer', buffer.name)
    }
  }

  print(): Shader {
    const { grid, body } = gridOf(this.#kernel)
    const { grid: locals, body: inner } = leading(body, 'local')
    const invocations = this.#invocations(locals)
    this.#checkMemory()
    const entry = this.#names.fresh(`kernel_${nameText(this.#kernel.name)}`)
    const points = this.#points(grid)
    const places = locals.map((loop, depth) => {
      const axis = ['x', 'y', 'z'][locals.length - 1 - depth]
      return `  let ${this.#names.of('variable', loop.variable)} = i32(local.${axis});`
    })
    const statements = this.#block(inner, '  ')
    const registers = this.#kernel.locals.flatMap((buffer) => this.#privateLines(buffer))
    const main = [
      `@compute @workgroup_size(${invocations.join(', ')})`,
      `fn ${entry}(`,
      '  @builtin(workgroup_id) group: vec3<u32>,',
      '  @builtin(num_workgroups) groups: vec3<u32>,',
      '  @builtin(local_invocation_id) local: vec3<u32>,',
      ') {',
      ...points,
      ...places,
      ...registers,
      ...statements,
      '}',
      '',
    ]
    const declarations = this.#declarations()
    return {
      entry,
      code: [...declarations, '', ...main].join('\n'),
      usesSizes: this.#values.usesSizes,
      invocations,
    }
  }

  get #updates(): boolean {
    return this.#kernel.arguments.some((buffer) => buffer.access === 'update')
  }

  #invocations(locals: readonly Loop[]): [number, number, number] {
    if (locals.length > 3) throw this.#values.error(`${locals.length} directions of invocations`)
    const extents = locals.toReversed().map((loop) => {
      const extent = constantOf(loop.extent)
      if (extent === undefined) throw this.#values.error(`the extent of local loop ${loop.variable} is no constant`)
      return extent
    })
    const all = extents.reduce((product, extent) => product * extent, 1)
    // Along z the specification allows 64 at most.
    if (all > this.#limits.invocations || (extents[2] ?? 1) > 64) {
      throw this.#values.error(`${all} invocations, but a workgroup has ${this.#limits.invocations} at most`)
    }
    return [extents[0] ?? 1, extents[1] ?? 1, extents[2] ?? 1]
  }

  #checkMemory(): void {
    const bytes = (space: Buffer['space']): number =>
      this.#kernel.locals
        .filter((buffer) => buffer.space === space)
        .reduce((sum, buffer) => sum + bufferElements(buffer) * dtypeBytes[buffer.dtype], 0)
    const { workgroupBytes, privateBytes, storageBuffers } = this.#limits
    const check = (found: number, most: number, what: string): void => {
      if (found > most) throw this.#values.error(`${found} ${what}, but ${most} is the limit`)
    }
    check(bytes('workgroup'), workgroupBytes, 'bytes of workgroup memory')
    check(bytes('scratch') + bytes('register'), privateBytes, 'bytes of private memory')
    check(this.#kernel.arguments.length, storageBuffers, 'storage buffers')
    for (const { name, dtype } of this.#kernel.locals) {
      if (dtype === 'f16' || dtype === 'bf16')
        throw this.#values.error(`${name} is ${dtype}, which exists in memory only`)
    }
  }

  #declarations(): string[] {
    const lines: string[] = []
    if (this.#values.usesSizes) {
      const fields = this.#sizes.map((name) => `  ${this.#names.of('size', name)}: i32,`)
      lines.push('struct Sizes {', ...fields, '}', '', '@group(0) @binding(0) var<uniform> sizes: Sizes;')
    }
    for (const [position, buffer] of this.#kernel.arguments.entries()) {
      const access = buffer.access === 'read' ? 'read' : 'read_write'
      const name = this.#names.of('buffer', buffer.name)
      lines.push(
        `@group(0) @binding(${position + 1}) var<storage, ${access}> ${name}: array<${storedTypes[buffer.dtype]}>;`,
      )
    }
    for (const buffer of this.#kernel.locals) {
      if (buffer.space === 'argument') throw this.#values.error(`local buffer ${buffer.name} is in argument memory`)
      if (buffer.space === 'workgroup')
        lines.push(`var<workgroup> ${this.#names.of('buffer', buffer.name)}: ${this.#arrayType(buffer)};`)
    }
    for (const [name, bits] of Object.entries(uncommon)) {
      if (this.#values.used.has(name)) lines.push(`var<private> ${name}: u32 = ${bits};`)
    }
    for (const [name, text] of Object.entries(helpers)) if (this.#values.used.has(name)) lines.push('', text)
    return lines
  }

  #arrayType(buffer: Buffer): string {
    return `array<${valueTypes[valueType(buffer.dtype)]}, ${bufferElements(buffer)}>`
  }

  /** Variables of one invocation: an element each for registers, an array for scratch. */
  #privateLines(buffer: Buffer): string[] {
    if (buffer.space === 'scratch')
      return [`  var ${this.#names.of('buffer', buffer.name)}: ${this.#arrayType(buffer)};`]
    if (buffer.space !== 'register') return []
    const type = valueTypes[valueType(buffer.dtype)]
    // All places, so that a store that no load follows finds its variable as well.
    const places = Array.from({ length: bufferElements(buffer) }, (_, offset) => offset)
    return places.map((offset) => `  var ${this.#names.of('buffer', `${buffer.name} ${offset}`)}: ${type};`)
  }

  /** The workgroup's place in the grid. The innermost loop runs fastest; the outermost needs no remainder. */
  #points(grid: readonly Loop[]): string[] {
    if (grid.length === 0) return []
    for (const loop of grid) {
      if (variablesOf(loop.extent).size > 0) throw this.#values.error(`the extent of grid loop ${loop.variable} varies`)
    }
    const extents = grid.map((loop) => `(${this.#values.index(loop.extent)})`)
    const lines = [
      '  let point = i32(group.x + group.y * groups.x);',
      `  if (point >= ${extents.join(' * ')}) {`,
      '    return;',
      '  }',
    ]
    let behind: string[] = []
    const variables = grid.map((loop, depth) => {
      behind = extents.slice(depth + 1)
      const quotient = behind.length === 0 ? 'point' : `point / (${behind.join(' * ')})`
      const text = depth === 0 ? quotient : `(${quotient}) % ${extents[depth]}`
      return `  let ${this.#names.of('variable', loop.variable)} = ${text};`
    })
    return [...lines, ...variables]
  }

  #block(body: readonly Stmt[], indent: string): string[] {
    return body.flatMap((stmt) => this.#statement(stmt, indent))
  }

  #statement(stmt: Stmt, indent: string): string[] {
    switch (stmt.kind) {
      case 'for': {
        if (stmt.binding !== 'serial') throw this.#values.error(`loop ${stmt.variable} is '${stmt.binding}' here`)
        const name = this.#names.of('variable', stmt.variable)
        const head = `for (var ${name} = 0; ${name} < ${this.#values.index(stmt.extent)}; ${name}++) {`
        return [indent + head, ...this.#block(stmt.body, `${indent}  `), `${indent}}`]
      }
      case 'if': {
        const tests = stmt.conditions.map(
          ({ left, right }) => `${this.#values.index(left)} < ${this.#values.index(right)}`,
        )
        const head = tests.length === 0 ? '{' : `if (${tests.join(' && ')}) {`
        return [indent + head, ...this.#block(stmt.body, `${indent}  `), `${indent}}`]
      }
      case 'store':
        return [indent + this.#values.store(stmt)]
      case 'let': {
        const type = valueTypes[typeOf(stmt.value)]
        return [`${indent}let ${this.#names.of('local', stmt.name)}: ${type} = ${this.#values.value(stmt.value)};`]
      }
      case 'transpose':
        throw this.#values.error('a transposition of registers, for which WGSL has no word')
      case 'prefetch':
        throw this.#values.error('a call into the cache, for which WGSL has no word')
      case 'barrier':
        // Where a kernel updates memory in place, what one invocation stores others may have read, or read next.
        return [...(this.#updates ? [`${indent}storageBarrier();`] : []), `${indent}workgroupBarrier();`]
    }
  }
}
