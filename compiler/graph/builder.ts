// Makes graph nodes: infers and checks axes, shares equal nodes, numbers them by creation. The only way to get a node.

import { axisNames, sortAxes, withoutAxes } from './axis.ts'
import type { Axis, DType } from './axis.ts'
import { elementwiseOp } from './elementwise.ts'
import type { Attributes, Declaration, Graph, GraphFunction, Node, StructuralOp } from './node.ts'
import { ShapeError, structuralRule } from './structural.ts'

/** Scores are rescaled every this many keys, and logits every this many vocabulary rows: part of the numeric contract. */
export const softmaxBlock = { keys: 64, vocabulary: 256 } as const

export class GraphBuilder {
  readonly #nodes = new Map<string, Node>()
  readonly #axes = new Map<string, Axis>()
  readonly #declarations = new Map<string, Declaration>()
  readonly #functions: GraphFunction[] = []
  #next = 0
  /** Which repeated layer the nodes made now belong to. */
  layer: number | undefined

  /** Continue a graph: its axes and declarations are known here, its nodes are rebuilt by whoever copies them. */
  static after(graph: Graph): GraphBuilder {
    const builder = new GraphBuilder()
    for (const axis of graph.axes) builder.#axes.set(axis.name, axis)
    for (const declaration of graph.declarations.values()) builder.declare(declaration)
    return builder
  }

  axis(name: string, size: number, extent?: string): Axis {
    const known = this.#axes.get(name)
    if (known) {
      if (known.size === size && known.extent === extent) return known
      throw new ShapeError(`axis '${name}' has ${known.size} places already and cannot have ${size}`)
    }
    if (!Number.isSafeInteger(size) || size < 1) throw new ShapeError(`axis '${name}' cannot have ${size} places`)
    const axis: Axis = { name, size, order: this.#axes.size, ...(extent === undefined ? {} : { extent }) }
    this.#axes.set(name, axis)
    return axis
  }

  hasAxis(name: string): boolean {
    return this.#axes.has(name)
  }

  axisNamed(name: string): Axis | undefined {
    return this.#axes.get(name)
  }

  declare(declaration: Declaration): void {
    if (this.#declarations.has(declaration.name)) throw new ShapeError(`'${declaration.name}' is declared twice`)
    const flat = declaration.stored.flat()
    if (new Set(flat).size !== flat.length) throw new ShapeError(`'${declaration.name}' is stored with an axis twice`)
    this.#declarations.set(declaration.name, declaration)
  }

  declaration(name: string): Declaration | undefined {
    return this.#declarations.get(name)
  }

  declarations(): Iterable<Declaration> {
    return this.#declarations.values()
  }

  define(fn: GraphFunction): void {
    this.#functions.push(fn)
  }

  finish(): Graph {
    return { axes: [...this.#axes.values()], declarations: this.#declarations, functions: this.#functions }
  }

  make<K extends StructuralOp>(op: K, inputs: readonly Node[], attrs: Attributes[K]): Node<K> {
    const key = `${op}(${inputs.map((input) => input.id).join()})${printAttributes(attrs)}`
    const known = this.#nodes.get(key)
    if (known) return known as Node<K>
    let shape
    try {
      shape = structuralRule(op).infer(inputs, attrs, this)
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error
      const name = op === 'map' ? (attrs as Attributes['map']).fn : op
      throw new ShapeError(`${name}: ${error.message}`)
    }
    const node = { id: this.#next++, op, inputs, attrs, axes: shape.axes, dtype: shape.dtype, layer: this.layer }
    Object.freeze(node)
    this.#nodes.set(key, node as Node)
    return node as Node as Node<K>
  }

  read(name: string): Node {
    return this.make('read', [], { name })
  }
  constant(value: number, dtype: DType): Node {
    return this.make('constant', [], { value: dtype === 'f32' ? Math.fround(value) : value, dtype })
  }
  float(value: number): Node {
    return this.constant(value, 'f32')
  }
  int(value: number): Node {
    return this.constant(value, 'i32')
  }
  table(axis: Axis, values: readonly number[]): Node {
    return this.make('table', [], { axis, values: values.map(Math.fround) })
  }
  iota(axis: Axis): Node {
    return this.make('iota', [], { axis })
  }
  extent(axis: Axis): Node {
    return this.make('extent', [], { axis })
  }
  random(seed: Node, axes: readonly Axis[], stream: number): Node {
    return this.make('random', [seed], { axes: sortAxes(axes), stream })
  }

  /** Operands of a commutative operation stand in one order: what all layers share first, so that layers are alike. */
  map(fn: string, ...inputs: readonly Node[]): Node {
    const [x, y] = inputs
    const swapped = elementwiseOp(fn)?.commutative && x && y && isBefore(y, x) ? [y, x] : inputs
    return this.make('map', swapped, { fn })
  }

  sum(x: Node, over: Axis): Node {
    return this.make('sum', [x], { over })
  }
  /** Sums over several axes, innermost (last declared) first. */
  sumAll(x: Node, over: readonly Axis[]): Node {
    return sortAxes(over).reduceRight((rest: Node, axis) => this.sum(rest, axis), x)
  }
  maximum(x: Node, over: Axis): Node {
    return this.make('maximum', [x], { over })
  }

  /** Contracts; the chain runs through `over` in the order given, or canonically where the caller has none. */
  dot(x: Node, y: Node, over: readonly Axis[]): Node {
    return this.make('dot', [x, y], { over })
  }
  /**
   * `dot` in the canonical chain order, or the plain product where nothing is left to contract. Axes with a run-time
   * extent run innermost, so that a kernel can stream along them: part of the numeric contract.
   */
  product(x: Node, y: Node, over: readonly Axis[]): Node {
    if (over.length === 0) return this.map('mul', x, y)
    const sorted = sortAxes(over)
    const fixed = sorted.filter((axis) => axis.extent === undefined)
    return this.dot(x, y, [...fixed, ...sorted.filter((axis) => axis.extent !== undefined)])
  }
  logSumExp(scores: Node, over: Axis, block: number): Node {
    return this.make('logSumExp', [scores], { over, block })
  }
  softmaxDot(scores: Node, values: Node, over: Axis, block: number): Node {
    return this.make('softmaxDot', [scores, values], { over, block })
  }

  gather(table: Node, index: Node, axis: Axis): Node {
    return this.make('gather', [table, index], { axis })
  }
  scatterAdd(base: Node, index: Node, updates: Node, axis: Axis): Node {
    return this.make('scatterAdd', [base, index, updates], { axis })
  }

  rename(x: Node, from: Axis, to: Axis): Node {
    return this.make('rename', [x], { from, to })
  }
  split(x: Node, axis: Axis, into: readonly Axis[]): Node {
    return this.make('split', [x], { axis, into })
  }
  merge(x: Node, axes: readonly Axis[], into: Axis): Node {
    return this.make('merge', [x], { axes, into })
  }
  pick(x: Node, axis: Axis, index: number): Node {
    return this.make('pick', [x], { axis, index })
  }
  stack(parts: readonly Node[], axis: Axis): Node {
    return this.make('stack', parts, { axis })
  }
  broadcast(x: Node, axes: readonly Axis[]): Node {
    return withoutAxes(axes, x.axes).length === 0 ? x : this.make('broadcast', [x], { axes: sortAxes(axes) })
  }
  barrier(x: Node, tag: string, after?: Node): Node {
    return this.make('barrier', after ? [x, after] : [x], { tag })
  }
}

function isBefore(a: Node, b: Node): boolean {
  const [shared, other] = [a.layer === undefined, b.layer === undefined]
  return shared === other ? a.id < b.id : shared
}

function isAxis(value: unknown): value is Axis {
  return typeof value === 'object' && value !== null && 'order' in value
}

/** Attributes as the printer shows them and the builder tells nodes apart by. */
export function printAttributes(attrs: object): string {
  const parts = Object.entries(attrs).map(([key, value]) => `${key}=${printAttribute(value)}`)
  return parts.length === 0 ? '' : `{${parts.join(' ')}}`
}

function printAttribute(value: unknown): string {
  if (isAxis(value)) return value.name
  if (Array.isArray(value)) return `[${value.map(printAttribute).join(' ')}]`
  if (Object.is(value, -0)) return '-0'
  return typeof value === 'string' ? JSON.stringify(value) : String(value)
}

export function describeShape(node: Node): string {
  return `${node.dtype}(${axisNames(node.axes)})`
}
