// A graph that grows: axes, declarations and the nodes made so far, of which the next operation takes its operands. Only
// for tests; knows no operation.

import type { Axis, DType } from '../../compiler/graph/axis.ts'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import type { Node, Role, StoredLayout } from '../../compiler/graph/node.ts'
import type { Choices } from './choices.ts'

export class Growing {
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

  isTooLarge(axes: readonly Axis[]): boolean {
    return axes.reduce((product, axis) => product * axis.size, 1) > this.elements
  }

  /** The result, unless it is too large; recent results are chosen more often than old ones. */
  keep(make: () => Node | undefined, axes: readonly Axis[]): void {
    if (this.isTooLarge(axes)) return
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
