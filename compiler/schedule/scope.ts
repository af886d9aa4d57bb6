// Where a kernel under construction keeps its arguments, locals and names, and how a graph node becomes a kernel
// expression at a place given by indices. Views (rename, split, merge, pick …) are index arithmetic and cost nothing.

import { InternalError } from '../diagnostic.ts'
import type { Axis, DType } from '../graph/axis.ts'
import { elementwiseOp } from '../graph/elementwise.ts'
import { isOp } from '../graph/node.ts'
import type { Declaration, Node, StructuralOp } from '../graph/node.ts'
import { randomUniform } from '../graph/random.ts'
import type { Buffer, Dimension, Expr, Kernel, SizeBound, Stmt } from '../kernel/ir.ts'
import { denseDims, valueType } from '../kernel/ir.ts'
import { addIndex, constantIndex, divideIndex, loadedIndex, moduloIndex, scaleIndex, size } from '../kernel/index.ts'
import type { Index, Range } from '../kernel/index.ts'
import { choose, exprScalars } from './scalars.ts'

/**
 * What a kernel argument stands for: a value some kernel computes, a declared one, a table of constants, memory of one launch
 * alone that its phases pass on, the rows of a declared value that an input's ids name, or for each of those ids the flat
 * place of the first one equal to it.
 */
export type ValueRef =
  | { readonly kind: 'node'; readonly node: Node }
  | { readonly kind: 'declared'; readonly name: string }
  | { readonly kind: 'table'; readonly node: Node<'table'> }
  | { readonly kind: 'carry'; readonly buffer: Buffer }
  | { readonly kind: 'named'; readonly name: string; readonly ids: string }
  | { readonly kind: 'firsts'; readonly ids: string }

/** Where in its axes a value is wanted. `groups` are runs of axes walked by one index; each axis is listed as well. */
export class Env {
  readonly at: ReadonlyMap<Axis, Index>
  readonly groups: readonly { readonly axes: readonly Axis[]; readonly index: Index }[]

  constructor(at: ReadonlyMap<Axis, Index>, groups: Env['groups'] = []) {
    this.at = at
    this.groups = groups
  }

  index(axis: Axis): Index {
    const index = this.at.get(axis)
    if (!index) throw new InternalError(`axis '${axis.name}' has no place here`)
    return index
  }

  with(changes: readonly (readonly [Axis, Index])[], gone: readonly Axis[] = []): Env {
    const at = new Map(this.at)
    for (const axis of gone) at.delete(axis)
    for (const [axis, index] of changes) at.set(axis, index)
    const touched = new Set([...gone, ...changes.map(([axis]) => axis)])
    return new Env(
      at,
      this.groups.filter((group) => !group.axes.some((axis) => touched.has(axis))),
    )
  }

  /** `axes` walked by one index that does not say where in each of them. */
  inGroup(axes: readonly Axis[], index: Index): Env {
    if (axes.length === 1 && axes[0]) return this.with([[axes[0], index]])
    return new Env(this.at, [...this.groups, { axes, index }])
  }

  withGroup(axes: readonly Axis[], index: Index, ranges: ReadonlyMap<string, Range>): Env {
    if (axes.length === 1 && axes[0]) return this.with([[axes[0], index]])
    let inner = 1
    const parts: [Axis, Index][] = []
    for (const axis of axes.toReversed()) {
      parts.push([axis, moduloIndex(divideIndex(index, inner, ranges), axis.size, ranges)])
      inner *= axis.size
    }
    const env = this.with(parts)
    return new Env(env.at, [...env.groups, { axes, index }])
  }
}

export function extentIndex(axis: Axis): Index {
  return axis.extent === undefined ? constantIndex(axis.size) : size(axis.extent)
}

/** What the surroundings decide: where values lie and which of them exist in memory. */
export interface Storage {
  declaration(name: string): Declaration
  /** Axes in memory order of a value that a kernel computes. */
  layout(node: Node): readonly Axis[]
  /** The declared value that a computed one overwrites in place, if it does. */
  target(node: Node): string | undefined
  /** Whether a kernel before this one has stored the value. */
  stored(node: Node): boolean
}

type ViewOp = 'rename' | 'split' | 'merge' | 'pick' | 'broadcast' | 'barrier'

export const viewOps: ReadonlySet<StructuralOp> = new Set<ViewOp>([
  'rename',
  'split',
  'merge',
  'pick',
  'broadcast',
  'barrier',
])

export class KernelScope {
  readonly storage: Storage
  readonly ranges = new Map<string, Range>()
  /** Values inside the kernel: per-row scalars, accumulators, tiles. */
  readonly inside = new Map<Node, (env: Env) => Expr>()
  readonly #arguments: { buffer: Buffer; ref: ValueRef; key: string }[] = []
  readonly #locals: Buffer[] = []
  readonly #sizes = new Map<string, SizeBound>()
  readonly #memo = new Map<Node, Map<Env, Expr>>()
  /** Declared values read as they were before the function, and stored results of other kernels. */
  readonly reads = { declared: new Set<string>(), nodes: new Set<Node>() }
  #names = 0

  constructor(storage: Storage) {
    this.storage = storage
  }

  fresh(prefix: string): string {
    return `${prefix}${this.#names++}`
  }

  /** Notes that the kernel walks an axis; returns its extent. */
  extent(axis: Axis): Index {
    if (axis.extent !== undefined) {
      this.#sizes.set(axis.extent, { name: axis.extent, bound: axis.size })
      this.ranges.set(axis.extent, { low: 1, high: axis.size })
    }
    return extentIndex(axis)
  }

  local(name: string, space: 'scratch' | 'register', sizes: readonly number[], dtype: DType = 'f32'): Buffer {
    const buffer: Buffer = { name, dtype, space, dims: denseDims(sizes) }
    this.#locals.push(buffer)
    return buffer
  }

  kernel(name: string, body: readonly Stmt[]): Kernel {
    return {
      name,
      sizes: [...this.#sizes.values()],
      arguments: this.#arguments.map((argument) => argument.buffer),
      locals: this.#locals,
      body,
    }
  }

  get references(): ValueRef[] {
    return this.#arguments.map((argument) => argument.ref)
  }

  /** The declared value that an argument stands for, if it stands for one. */
  declaredBehind(argument: string): Declaration | undefined {
    const ref = this.#arguments.find(({ buffer }) => buffer.name === argument)?.ref
    return ref?.kind === 'declared' ? this.storage.declaration(ref.name) : undefined
  }

  /** An element of a value in memory. The same memory read and written is one `update` argument. */
  #access(
    ref: ValueRef,
    axes: readonly Axis[],
    dtype: DType,
    env: Env,
    access: 'read' | 'write',
  ): { buffer: string; indices: Index[] } {
    const dims: Dimension[] = []
    const indices: Index[] = []
    let stride = axes.reduce((product, axis) => product * axis.size, 1)
    for (let place = 0; place < axes.length;) {
      const group = env.groups.find((run) => run.axes.every((axis, offset) => axes[place + offset] === axis))
      const run = group ? group.axes : axes.slice(place, place + 1)
      const count = run.reduce((product, axis) => product * axis.size, 1)
      for (const axis of run) this.extent(axis)
      stride /= count
      dims.push({ size: count, stride })
      indices.push(group ? group.index : env.index(run[0] as Axis))
      place += run.length
    }
    const key = `${refKey(ref)} ${JSON.stringify(dims)}`
    const known = this.#arguments.find((argument) => argument.key === key)
    if (known) {
      if (known.buffer.access !== access) known.buffer = { ...known.buffer, access: 'update' }
      return { buffer: known.buffer.name, indices }
    }
    const name = `${ref.kind === 'declared' ? 'd' : ref.kind === 'table' ? 'table' : 'x'}${this.#arguments.length}`
    this.#arguments.push({ buffer: { name, dtype, space: 'argument', dims, access }, ref, key })
    return { buffer: name, indices }
  }

  /** The kernel reads what it writes there. */
  markUpdated(name: string): void {
    const argument = this.#arguments.find((candidate) => candidate.buffer.name === name)
    if (argument) argument.buffer = { ...argument.buffer, access: 'update' }
  }

  /** Notes that the kernel goes on from a value that lies where it writes. */
  noteRead(node: Node): void {
    if (isOp(node, 'read')) this.reads.declared.add(node.attrs.name)
    else this.reads.nodes.add(node)
  }

  /** The store of a computed value to its place in memory. */
  store(node: Node, env: Env, value: Expr): Stmt {
    const { ref, dtype } = this.#placeOf(node)
    const place = this.#access(ref, this.storage.layout(node), dtype, env, 'write')
    return { kind: 'store', ...place, value, lanes: 1 }
  }

  /**
   * The store of a row's element where only rows that `ids` name are in memory: all that are equal add to the first one's.
   * `node` is written to a declared value that has those rows.
   */
  storeNamed(node: Node, ids: Node<'read'>, env: Env, value: Expr): Stmt {
    const { ref, dtype } = this.#placeOf(node)
    if (ref.kind !== 'declared') throw new InternalError(`a ${node.op} is written to no declared value`)
    const { name } = ids.attrs
    const places = this.storage.declaration(name).stored.flat()
    const first = this.#load({ kind: 'firsts', ids: name }, places, 'i32', env)
    const count = places.reduce((product, axis) => product * axis.size, 1)
    const row = env.inGroup(places, loadedIndex(first, count))
    const axes = [...places, ...this.storage.layout(node).slice(1)]
    const place = this.#access({ kind: 'named', name: ref.name, ids: name }, axes, dtype, row, 'write')
    return { kind: 'store', ...place, value, lanes: 1 }
  }

  /** Where a stored result lies, and as what. */
  #placeOf(node: Node): { ref: ValueRef; dtype: DType } {
    const target = this.storage.target(node)
    if (target === undefined) return { ref: { kind: 'node', node }, dtype: node.dtype }
    return { ref: { kind: 'declared', name: target }, dtype: this.storage.declaration(target).dtype }
  }

  #load(ref: ValueRef, axes: readonly Axis[], dtype: DType, env: Env): Expr {
    const place = this.#access(ref, axes, dtype, env, 'read')
    return { kind: 'load', ...place, type: valueType(dtype), lanes: 1 }
  }

  /** From here on the node's value has a name; expressions made before spelled it out. */
  settle(node: Node, value: Expr): void {
    this.#memo.delete(node)
    this.inside.set(node, () => value)
  }

  /** The value of a node at a place. Equal nodes at equal places are one object, so that sharing survives. */
  value(node: Node, env: Env): Expr {
    const known = this.#memo.get(node)?.get(env)
    if (known) return known
    const made = this.#make(node, env)
    const memo = this.#memo.get(node) ?? new Map<Env, Expr>()
    this.#memo.set(node, memo.set(env, made))
    return made
  }

  #make(node: Node, env: Env): Expr {
    const inside = this.inside.get(node)
    if (inside) return inside(env)
    if (this.storage.stored(node)) {
      this.reads.nodes.add(node)
      const { ref, dtype } = this.#placeOf(node)
      return this.#load(ref, this.storage.layout(node), dtype, env)
    }
    const operand = (index: number): Node => node.inputs[index] as Node
    if (isOp(node, 'read')) {
      this.reads.declared.add(node.attrs.name)
      const declared = this.storage.declaration(node.attrs.name)
      return this.#load({ kind: 'declared', name: declared.name }, declared.stored.flat(), declared.dtype, env)
    }
    if (isOp(node, 'constant')) {
      const type = node.attrs.dtype === 'i32' || node.attrs.dtype === 'bool' ? node.attrs.dtype : 'f32'
      return { kind: 'constant', type, value: node.attrs.value }
    }
    if (isOp(node, 'table')) return this.#load({ kind: 'table', node }, [node.attrs.axis], 'f32', env)
    if (isOp(node, 'iota')) return { kind: 'index', index: env.index(node.attrs.axis) }
    if (isOp(node, 'extent')) return { kind: 'index', index: this.extent(node.attrs.axis) }
    if (isOp(node, 'map')) {
      const op = elementwiseOp(node.attrs.fn)
      if (!op) throw new InternalError(`no elementwise operation is called '${node.attrs.fn}'`)
      return op.meaning(
        exprScalars,
        node.inputs.map((input) => this.value(input, env)),
      )
    }
    if (isOp(node, 'random')) {
      const flat = node.attrs.axes.reduce<Index>(
        (sum, axis) => addIndex(scaleIndex(sum, axis.size), env.index(axis)),
        constantIndex(0),
      )
      return randomUniform(exprScalars, this.value(operand(0), env), node.attrs.stream, { kind: 'index', index: flat })
    }
    if (isOp(node, 'gather')) {
      const row = loadedIndex(this.value(operand(1), env), node.attrs.axis.size)
      return this.value(operand(0), env.with([[node.attrs.axis, row]]))
    }
    if (isOp(node, 'stack')) {
      const place: Expr = { kind: 'index', index: env.index(node.attrs.axis) }
      const parts = node.inputs.map((input) => this.value(input, env))
      return parts.reduceRight((rest, part, index) =>
        choose(exprScalars.intEqual(place, exprScalars.int(index)), part, rest),
      )
    }
    return this.value(operand(0), viewEnv(node, env, this.ranges))
  }
}

/** Where a view reads its operand. */
export function viewEnv(node: Node, env: Env, ranges: ReadonlyMap<string, Range>): Env {
  if (isOp(node, 'rename')) return env.with([[node.attrs.from, env.index(node.attrs.to)]], [node.attrs.to])
  if (isOp(node, 'split')) {
    const { axis, into } = node.attrs
    const group = env.groups.find(
      (run) => run.axes.length === into.length && run.axes.every((part, place) => part === into[place]),
    )
    const whole = group
      ? group.index
      : into.reduce<Index>((sum, part) => addIndex(scaleIndex(sum, part.size), env.index(part)), constantIndex(0))
    return env.with([[axis, whole]], into)
  }
  if (isOp(node, 'merge')) {
    return env.with([], [node.attrs.into]).withGroup(node.attrs.axes, env.index(node.attrs.into), ranges)
  }
  if (isOp(node, 'pick')) return env.with([[node.attrs.axis, constantIndex(node.attrs.index)]])
  if (isOp(node, 'broadcast') || isOp(node, 'barrier')) return env
  throw new InternalError(`'${node.op}' must be stored before it is read`)
}

function refKey(ref: ValueRef): string {
  switch (ref.kind) {
    case 'carry':
      return `carry ${ref.buffer.name}`
    case 'declared':
      return `declared ${ref.name}`
    case 'named':
      return `named ${ref.ids} ${ref.name}`
    case 'firsts':
      return `firsts ${ref.ids}`
    default:
      return `${ref.kind} ${ref.node.id}`
  }
}
