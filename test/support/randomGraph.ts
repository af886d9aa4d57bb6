// Well-typed random graphs with values for everything they read: for properties of printers, passes and kernels. Every
// structural and elementwise operation occurs, at sizes that cross blocks of 8, 16 and 32; floats stay tame.

import fc from 'fast-check'
import { sameAxes } from '../../compiler/graph/axis.ts'
import type { Declaration, Graph } from '../../compiler/graph/node.ts'
import { countElements, extentOf, makeTensor } from '../../compiler/graph/tensor.ts'
import type { Extents, Tensor } from '../../compiler/graph/tensor.ts'
import { Choices } from './choices.ts'
import { Growing } from './growingGraph.ts'
import { isFloat, steps } from './growthSteps.ts'

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
  /** Operations that every third step is one of; no more often than the others where empty. */
  readonly favoured?: readonly string[]
  /** Begins with trained values over the axes that only views need, so that gradients flow through views as well. */
  readonly trainedViews?: boolean
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

/** Builds one graph: `numbers` decide, so the same ones always give the same graph. */
export function growGraph(numbers: readonly number[], options: RandomGraphOptions = {}): RandomGraph {
  const { sizes = [1, 3, 17, 33], elements = 6000, favoured = [] } = options
  const all = [...steps.values()]
  const choices = new Choices(numbers)
  const seed = choices.below(2 ** 20)
  const extents = { batch: 1 + choices.below(3), seq: [33, 1, 17, 20][choices.below(4)] ?? 33 }
  const g = new Growing(choices, sizes, elements)
  const declared = g.pool.length
  if (options.trainedViews === true) growTrainedViews(g)
  for (let step = 0; step < (options.steps ?? 24); step++) {
    const layer = choices.below(4)
    g.b.layer = layer === 3 ? undefined : layer
    const wanted = favoured.length > 0 && choices.below(3) === 0 ? choices.of(favoured) : undefined
    const grow = wanted === undefined ? choices.of(all) : steps.get(wanted)
    grow?.(g)
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

/** Small, whatever the sizes: one over batch and seq, one over the axis that can be split. */
function growTrainedViews({ b, pool, few, part, wide }: Growing): void {
  const [bias, fused] = [b.read('bias'), b.read('fused weight')]
  const rows = b.sumAll(
    fused,
    fused.axes.filter((axis) => axis !== few && axis !== part),
  )
  pool.push(b.map('add', b.map('toFloat', b.read('segment')), b.sumAll(bias, bias.axes)))
  pool.push(b.merge(rows, [few, part], wide))
}

/** Two functions that share nodes; between them everything that nothing else uses comes out. */
function define(g: Growing, declared: number): void {
  const made = g.pool.slice(declared)
  const used = new Set(made.flatMap((node) => node.inputs))
  const last = made.filter((node) => !used.has(node))
  const moment = g.b.read('moment')
  const target = last.find((node) => isFloat(node) && sameAxes(node.axes, moment.axes))
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
