// Well-typed random graphs with values for everything they read: for properties of printers, passes and kernels. Every
// structural and elementwise operation occurs, at sizes that cross blocks of 8, 16 and 32; floats stay tame.

import fc from 'fast-check'
import type { Axis, DType } from '../../compiler/graph/axis.ts'
import { sameAxes, withoutAxes } from '../../compiler/graph/axis.ts'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import { elementwise } from '../../compiler/graph/elementwise.ts'
import type { Declaration, Graph, Node, Role, StoredLayout } from '../../compiler/graph/node.ts'
import { countElements, extentOf, makeTensor } from '../../compiler/graph/tensor.ts'
import type { Extents, Tensor } from '../../compiler/graph/tensor.ts'

export interface RandomGraph {
  readonly graph: Graph
  /** Canonical tensors for every declaration; floats are float32 numbers in Float64Arrays. */
  readonly values: ReadonlyMap<string, Tensor>
  readonly extents: Extents
}

export interface RandomGraphOptions {
  /** Operations asked for; some are refused because nothing fits. */
  readonly steps?: number
  /** Larger results are not made. */
  readonly elements?: number
  /** Only these sizes of static axes. */
  readonly sizes?: readonly number[]
}

/** A source of choices: as long as `numbers` last they decide, so that shrinking them shrinks the graph. */
class Choices {
  readonly #numbers: readonly number[]
  #next = 0
  constructor(numbers: readonly number[]) {
    this.#numbers = numbers
  }
  below(count: number): number {
    return (this.#numbers[this.#next++] ?? 0) % count
  }
  of<T>(list: readonly T[]): T | undefined {
    return list[this.below(Math.max(1, list.length))]
  }
}

/** Small floats with a few zeros and ties, the same for the same seed. */
function seeded(seed: number): () => number {
  let state = Math.imul(seed, 2654435761) | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

class Growing {
  readonly b = new GraphBuilder()
  readonly pool: Node[] = []
  readonly seed: Node
  readonly batch: Axis
  readonly seq: Axis
  readonly key: Axis
  readonly few: Axis
  readonly part: Axis
  readonly wide: Axis
  /** Static axes whose places an index input can name. */
  readonly tables: readonly Axis[]
  readonly choices: Choices
  readonly elements: number

  constructor(choices: Choices, sizes: readonly number[], elements: number) {
    const { b } = this
    this.choices = choices
    this.elements = elements
    const size = (): number => choices.of(sizes) ?? 1
    this.batch = b.axis('batch', 3, 'batch')
    this.seq = b.axis('seq', 33, 'seq')
    const embed = b.axis('embed', size())
    const mlp = b.axis('mlp', size())
    this.few = b.axis('few', 3)
    this.part = b.axis('part', choices.of(sizes) ?? 1)
    this.wide = b.axis('wide', this.few.size * this.part.size)
    this.key = b.axis('key', 33, 'seq')
    this.tables = [embed, mlp, this.few, this.part, this.wide]
    this.seed = this.#declare('seed', 'input', 'i32', [])
    this.#declare('x', 'input', 'f32', [[this.batch], [this.seq], [embed]])
    this.#declare('w', 'frozen', 'bf16', [[mlp], [embed]])
    this.#declare('fused weight', 'trainable', 'f32', [[this.few, this.part], [embed]])
    this.#declare('bias', 'trainable', 'f32', [[mlp]])
    this.#declare('wide', 'frozen', 'f16', [[this.wide]])
    this.#declare('moment', 'state', 'f32', [[embed, mlp]], 0)
    this.#declare('segment', 'input', 'i32', [[this.batch], [this.seq]])
    this.#declare('keep', 'input', 'bool', [[this.seq]])
    for (const axis of this.tables) this.#declare(`index.${axis.name}`, 'input', 'i32', [[this.batch], [this.seq]])
  }

  #declare(name: string, role: Role, dtype: DType, stored: StoredLayout, initial?: number): Node {
    const start = initial === undefined ? {} : { initial: { kind: 'constant' as const, value: initial } }
    this.b.declare({ name, role, dtype, stored, ...start })
    const node = this.b.read(name)
    this.pool.push(node)
    return node
  }

  /** The result, unless it is too large; recent results are chosen more often than old ones. */
  keep(make: () => Node | undefined, axes: readonly Axis[]): void {
    if (countElements(axes.map((axis) => axis.size)) > this.elements) return
    const node = make()
    if (node && !this.pool.includes(node)) this.pool.push(node)
  }

  pick(fits: (node: Node) => boolean): Node | undefined {
    const fitting = this.pool.filter(fits)
    const recent = this.choices.below(2) === 0 ? fitting.slice(-6) : fitting
    return this.choices.of(recent)
  }

  pickFloat(): Node {
    return this.pick((node) => node.dtype === 'f32') ?? this.b.float(1)
  }

  pickOf(dtype: DType): Node {
    if (dtype === 'f32') return this.pickFloat()
    const found = this.pick((node) => node.dtype === dtype)
    return found ?? (dtype === 'bool' ? this.b.constant(1, 'bool') : this.b.int(2))
  }
}

const F = (node: Node): boolean => node.dtype === 'f32'

function unionOf(...nodes: readonly Node[]): Axis[] {
  return [...new Set(nodes.flatMap((node) => node.axes))]
}

/** Keeps arguments where the function is defined and its result moderate. */
function tamed(b: GraphBuilder, fn: string, args: Node[]): Node[] {
  const [x, y] = args
  if (!x) return args
  const positive = (node: Node): Node => b.map('add', b.map('abs', node), b.float(0.5))
  switch (fn) {
    case 'log':
    case 'sqrt':
    case 'rsqrt':
      return [positive(x)]
    case 'exp':
      return [b.map('min', x, b.float(2))]
    case 'div':
      return y ? [x, positive(y)] : args
    case 'mul':
    case 'fma':
      return [b.map('tanh', x), ...args.slice(1)]
    default:
      return args
  }
}

type Step = (g: Growing) => void

const steps: readonly Step[] = [
  ...Object.entries(elementwise).map(([fn, op]): Step => {
    return (g) => {
      const args = op.takes.map((dtype) => g.pickOf(dtype))
      g.keep(() => g.b.map(fn, ...tamed(g.b, fn, args)), unionOf(...args))
    }
  }),
  (g) => {
    const value = [0.1, -0, 1e-30, -3.0e38, 7][g.choices.below(5)] ?? 1
    g.keep(() => g.b.float(value), [])
  },
  (g) => {
    const axis = g.choices.of(g.tables) ?? g.few
    g.keep(
      () =>
        g.b.table(
          axis,
          Array.from({ length: axis.size }, (_, i) => Math.sin(i * 1.7)),
        ),
      [axis],
    )
  },
  (g) => {
    const axis = g.choices.of([g.batch, g.seq, g.key, g.few]) ?? g.seq
    g.keep(() => g.b.iota(axis), [axis])
  },
  (g) => g.keep(() => g.b.extent(g.choices.of([g.batch, g.seq]) ?? g.seq), []),
  (g) => {
    const axes = [g.batch, g.seq, ...g.tables].filter(() => g.choices.below(3) === 0)
    const stream = g.choices.below(4)
    g.keep(() => g.b.random(g.seed, axes, stream), axes)
  },
  ...(['sum', 'maximum'] as const).map((op): Step => {
    return (g) => {
      const x = g.pick((node) => F(node) && node.axes.length > 0)
      const over = x && g.choices.of(x.axes)
      if (x && over) g.keep(() => g.b[op](x, over), withoutAxes(x.axes, [over]))
    }
  }),
  (g) => {
    const x = g.pickFloat()
    const y = g.pick((node) => F(node) && node.axes.some((axis) => x.axes.includes(axis)))
    if (!y) return
    const shared = x.axes.filter((axis) => y.axes.includes(axis))
    const kept = shared.filter(() => g.choices.below(4) !== 0)
    const over = kept.length === 0 ? shared.slice(0, 1) : kept
    if (g.choices.below(2) === 0) over.reverse()
    const scaled = g.b.map('mul', x, g.b.float(0.125))
    g.keep(() => g.b.dot(scaled, y, over), withoutAxes(unionOf(x, y), over))
  },
  (g) => {
    const x = g.pick((node) => F(node) && node.axes.length > 0)
    const over = x && g.choices.of(x.axes)
    const block = g.choices.of([1, 8, 64]) ?? 8
    if (x && over) g.keep(() => g.b.logSumExp(x, over, block), withoutAxes(x.axes, [over]))
  },
  (g) => {
    const x = g.pick((node) => F(node) && node.axes.length > 0)
    const over = x && g.choices.of(x.axes)
    const y = g.pick((node) => F(node) && over !== undefined && node.axes.includes(over))
    const block = g.choices.of([1, 8, 64]) ?? 8
    if (x && y && over) g.keep(() => g.b.softmaxDot(x, y, over, block), withoutAxes(unionOf(x, y), [over]))
  },
  (g) => {
    const axis = g.choices.of(g.tables) ?? g.few
    const table = g.pick((node) => node.axes.includes(axis))
    const index = g.b.read(`index.${axis.name}`)
    const axes = table ? withoutAxes(unionOf(table, index), [axis]) : []
    if (table) g.keep(() => g.b.gather(table, index, axis), axes)
  },
  (g) => {
    const axis = g.choices.of(g.tables) ?? g.few
    const index = g.b.read(`index.${axis.name}`)
    const base = g.pick((node) => F(node) && node.axes.includes(axis))
    if (!base) return
    const axes = unionOf(index).concat(withoutAxes(withoutAxes(base.axes, [axis]), index.axes))
    if (countElements(axes.map((one) => one.size)) > g.elements) return
    const updates = g.pick((node) => F(node) && node.axes.every((one) => axes.includes(one)))
    if (updates) g.keep(() => g.b.scatterAdd(base, index, g.b.broadcast(updates, axes), axis), base.axes)
  },
  (g) => {
    const [from, to] = g.choices.below(2) === 0 ? [g.seq, g.key] : [g.key, g.seq]
    const x = g.pick((node) => node.axes.includes(from) && !node.axes.includes(to))
    if (x) g.keep(() => g.b.rename(x, from, to), x.axes)
  },
  (g) => {
    const x = g.pick((n) => n.axes.includes(g.wide) && !n.axes.includes(g.few) && !n.axes.includes(g.part))
    const into = g.choices.below(2) === 0 ? [g.few, g.part] : [g.part, g.few]
    if (x) g.keep(() => g.b.split(x, g.wide, into), x.axes)
  },
  (g) => {
    const x = g.pick((n) => n.axes.includes(g.few) && n.axes.includes(g.part) && !n.axes.includes(g.wide))
    const axes = g.choices.below(2) === 0 ? [g.few, g.part] : [g.part, g.few]
    if (x) g.keep(() => g.b.merge(x, axes, g.wide), x.axes)
  },
  (g) => {
    const x = g.pick((node) => node.axes.some((axis) => g.tables.includes(axis)))
    const axis = x && g.choices.of(x.axes.filter((one) => g.tables.includes(one)))
    if (x && axis) g.keep(() => g.b.pick(x, axis, g.choices.below(axis.size)), x.axes)
  },
  (g) => {
    const x = g.pick((node) => !node.axes.includes(g.few))
    const alike = (node: Node): boolean => x !== undefined && node.dtype === x.dtype && sameAxes(node.axes, x.axes)
    if (!x) return
    const parts = Array.from({ length: g.few.size }, () => g.pick(alike) ?? x)
    g.keep(() => g.b.stack(parts, g.few), [...x.axes, g.few])
  },
  (g) => {
    const x = g.pickFloat()
    const wider = g.choices.of([g.batch, g.seq, ...g.tables])
    const axes = wider && !x.axes.includes(wider) ? [...x.axes, wider] : x.axes
    g.keep(() => g.b.broadcast(x, axes), axes)
  },
  (g) => {
    const x = g.pickFloat()
    const after = g.choices.below(2) === 0 ? g.pickFloat() : undefined
    g.keep(() => g.b.barrier(x, `layer "${g.choices.below(3)}"`, after), x.axes)
  },
]

/** Builds one graph: `numbers` decide, so the same ones always give the same graph. */
export function growGraph(numbers: readonly number[], options: RandomGraphOptions = {}): RandomGraph {
  const { sizes = [1, 3, 17, 33], elements = 6000 } = options
  const choices = new Choices(numbers)
  const seed = choices.below(2 ** 20)
  const extents = { batch: 1 + choices.below(3), seq: [33, 1, 17, 20][choices.below(4)] ?? 33 }
  const g = new Growing(choices, sizes, elements)
  const declared = g.pool.length
  for (let step = 0; step < (options.steps ?? 24); step++) {
    const layer = choices.below(4)
    g.b.layer = layer === 3 ? undefined : layer
    choices.of(steps)?.(g)
  }
  g.b.layer = undefined
  define(g, declared)
  const graph = g.b.finish()
  const values = new Map<string, Tensor>()
  for (const declaration of graph.declarations.values()) {
    values.set(declaration.name, valueOf(declaration, g, extents, seeded(seed + values.size)))
  }
  return { graph, values, extents }
}

/** Two functions that share nodes; between them everything that nothing else uses comes out. */
function define(g: Growing, declared: number): void {
  const made = g.pool.slice(declared)
  const used = new Set(made.flatMap((node) => node.inputs))
  const last = made.filter((node) => !used.has(node))
  const moment = g.b.read('moment')
  const target = last.find((node) => F(node) && sameAxes(node.axes, moment.axes))
  const next = g.b.map('add', moment, target ?? g.b.float(1))
  const outputs = last.map((node, index) => ({ name: `out ${index}`, node }))
  g.b.define({ name: 'step', outputs: outputs.slice(0, 4), writes: [{ name: 'moment', node: next }] })
  // Reversed, so that its first output is often one of the last nodes.
  if (outputs.length > 1)
    g.b.define({ name: 'evaluate', outputs: outputs.slice(2).concat(outputs.slice(0, 2)).reverse(), writes: [] })
}

function valueOf(declaration: Declaration, g: Growing, extents: Extents, next: () => number): Tensor {
  const { axes } = g.b.read(declaration.name)
  const sizes = axes.map((axis) => extentOf(axis, extents))
  const length = countElements(sizes)
  if (declaration.dtype === 'bool')
    return makeTensor(
      axes,
      sizes,
      Int32Array.from({ length }, () => (next() < 0.5 ? 1 : 0)),
    )
  if (declaration.dtype === 'i32') {
    const table = g.tables.find((axis) => declaration.name === `index.${axis.name}`)
    const places = table?.size ?? 5
    return makeTensor(
      axes,
      sizes,
      Int32Array.from({ length }, () => Math.floor(next() * places)),
    )
  }
  return makeTensor(
    axes,
    sizes,
    Float64Array.from({ length }, () => Math.fround(next() * 4 - 2)),
  )
}

/** Random graphs; shrinks towards few, plain operations on small axes. */
export function randomGraph(options: RandomGraphOptions = {}): fc.Arbitrary<RandomGraph> {
  return fc
    .array(fc.nat(2 ** 20), { minLength: 40, maxLength: 300, size: 'max' })
    .map((numbers) => growGraph(numbers, options))
}
