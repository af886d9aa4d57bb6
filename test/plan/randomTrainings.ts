// Random small models with everything that storage has to do with: tables that several inputs look up, tied heads, weights stored
// in either order, fused ones and parts of them, in training graphs of the pipeline's passes. Only for tests.

import type { Axis } from '../../compiler/graph/axis.ts'
import { GraphBuilder } from '../../compiler/graph/builder.ts'
import { Provenance } from '../../compiler/graph/node.ts'
import type { Graph, Node, StoredLayout } from '../../compiler/graph/node.ts'
import { trainingPasses } from '../../compiler/pipeline.ts'
import type { StorageOptions } from '../../compiler/plan/place.ts'
import { runPasses } from '../../compiler/transform/runner.ts'
import { Choices } from '../support/choices.ts'
import type { RandomGraph } from '../support/randomGraph.ts'
import { usualOptimizer } from '../support/usualOptimizer.ts'
import { valuesOf } from '../schedule/trainings.ts'

const ROWS = [7, 41, 90, 300] as const
const WIDTHS = [5, 16, 33] as const
const HIDDEN = [3, 12, 40, 150] as const
/** Every id is below. */
const LEAST_ROWS = 7

export function randomTraining(numbers: readonly number[], storage: StorageOptions): RandomGraph {
  const grown = new Model(new Choices(numbers)).grow()
  const passes = trainingPasses({
    adaptation: { kind: 'trainable', names: 'all' },
    optimizer: usualOptimizer,
    checkpoints: 'none',
    storage,
  })
  const { graph } = runPasses(grown, passes, { provenance: new Provenance() })
  const extents = { seq: 5 + ((numbers[0] ?? 0) % 4) }
  return { graph, values: valuesOf(graph, extents, LEAST_ROWS), extents }
}

class Model {
  readonly #b = new GraphBuilder()
  readonly #choices: Choices
  readonly #batch: Axis
  readonly #seq: Axis
  readonly #width: Axis
  readonly #tables: { readonly name: string; readonly rows: Axis }[] = []
  #names = 0

  constructor(choices: Choices) {
    this.#choices = choices
    this.#batch = this.#b.axis('batch', 2)
    this.#seq = this.#b.axis('seq', 8, 'seq')
    this.#width = this.#b.axis('width', choices.pick(WIDTHS))
    for (const name of ['ids', 'other ids']) this.#declare(name, [[this.#batch], [this.#seq]], 'i32')
  }

  grow(): Graph {
    const steps = [this.#lookUp, this.#hidden, this.#scale, this.#fused, this.#head]
    let x = this.#lookUp()
    const sums: Node[] = []
    for (let step = 1 + this.#choices.below(5); step >= 0; step--) {
      const made = this.#choices.pick(steps).call(this, x)
      if (made.axes.includes(this.#width)) x = this.#b.map('add', x, made)
      else sums.push(made)
    }
    if (this.#choices.below(2) === 0) sums.push(this.#head(x))
    sums.push(this.#total(this.#b.map('tanh', x)))
    const loss = sums.reduce((sum, part) => this.#b.map('add', sum, part))
    const outputs = [
      { name: 'loss', node: loss },
      { name: 'weight', node: this.#b.float(1) },
    ]
    this.#b.define({ name: 'loss', outputs, writes: [] })
    return this.#b.finish()
  }

  #declare(name: string, stored: StoredLayout, dtype: 'f32' | 'i32' | 'bf16' = 'f32'): Node {
    // Few are not trained.
    const role = dtype === 'i32' ? 'input' : this.#choices.below(6) === 0 ? 'frozen' : 'trainable'
    this.#b.declare({ name, role, dtype, stored })
    return this.#b.read(name)
  }

  #axis(size: number): Axis {
    return this.#b.axis(`axis ${this.#names++}`, size)
  }

  #weight(stored: StoredLayout): Node {
    return this.#declare(`weight ${this.#names++}`, stored)
  }

  #total(node: Node): Node {
    return this.#b.sumAll(node, node.axes)
  }

  /** Rows of a table, a new one or one that was looked up before. */
  readonly #lookUp = (): Node => {
    let table = this.#choices.below(2) === 0 ? this.#choices.of(this.#tables) : undefined
    if (!table) {
      table = { name: `table ${this.#tables.length}`, rows: this.#axis(this.#choices.pick(ROWS)) }
      this.#declare(table.name, [[table.rows], [this.#width]])
      this.#tables.push(table)
    }
    const ids = this.#b.read(this.#choices.pick(['ids', 'other ids']))
    return this.#b.gather(this.#b.read(table.name), ids, table.rows)
  }

  /** Up and down again, either weight as [in, out] or [out, in]. */
  readonly #hidden = (x: Node): Node => {
    const b = this.#b
    const inner = this.#axis(this.#choices.pick(HIDDEN))
    const stored = (): StoredLayout =>
      this.#choices.below(2) === 0 ? [[this.#width], [inner]] : [[inner], [this.#width]]
    const up = b.map('tanh', b.map('add', b.dot(x, this.#weight(stored()), [this.#width]), this.#weight([[inner]])))
    return b.dot(up, this.#weight(stored()), [inner])
  }

  readonly #scale = (x: Node): Node => this.#b.map('mul', x, this.#weight([[this.#width]]))

  /** One weight for two products. */
  readonly #fused = (x: Node): Node => {
    const b = this.#b
    const [pair, inner] = [this.#axis(2), this.#axis(this.#choices.pick(HIDDEN))]
    const merged = this.#choices.below(2) === 0
    const both = b.dot(x, this.#weight(merged ? [[pair, inner], [this.#width]] : [[this.#width], [pair, inner]]), [this.#width]) // prettier-ignore
    const product = b.map('mul', b.map('tanh', b.pick(both, pair, 0)), b.pick(both, pair, 1))
    return b.dot(product, this.#weight([[inner], [this.#width]]), [inner])
  }

  /** A loss over the rows of a table. */
  readonly #head = (x: Node): Node => {
    const b = this.#b
    const { name, rows } = this.#choices.pick(this.#tables)
    const scores = b.dot(x, b.read(name), [this.#width])
    if (this.#choices.below(2) === 0) return this.#total(b.map('tanh', scores))
    const chosen = b.gather(scores, b.read('ids'), rows)
    return this.#total(b.map('sub', b.logSumExp(scores, rows, 16), chosen))
  }
}
