// Gradients by central differences: small graphs with given trainables, run in float64. Only for tests.

import { interpret } from '../../compiler/graph/interpret.ts'
import { sortAxes } from '../../compiler/graph/axis.ts'
import type { Axis } from '../../compiler/graph/axis.ts'
import type { GraphBuilder } from '../../compiler/graph/builder.ts'
import { float64 } from '../../compiler/graph/float64.ts'
import type { Declaration, Graph, Node } from '../../compiler/graph/node.ts'
import { extentOf, makeTensor } from '../../compiler/graph/tensor.ts'
import type { Extents, Tensor } from '../../compiler/graph/tensor.ts'
import { differentiate } from '../../compiler/transform/differentiate.ts'
import { through } from './oracleModel.ts'

/** The same numbers for the same seed, in [0, 1). */
export function numbers(seed: number): () => number {
  let state = Math.imul(seed + 1, 2654435761) | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

/** Values for everything declared: floats from `range`, states their first value, indices below `places`. */
export function randomValues(
  graph: Graph,
  extents: Extents,
  {
    seed = 1,
    range = [-2, 2],
    places = 1 << 20,
  }: { seed?: number; range?: readonly [number, number]; places?: number } = {},
): Map<string, Tensor> {
  const next = numbers(seed)
  const values = new Map<string, Tensor>()
  for (const declaration of graph.declarations.values()) values.set(declaration.name, valueOf(declaration))
  return values

  function valueOf({ stored, dtype, role, initial }: Declaration): Tensor {
    const axes = sortAxes(stored.flat())
    const sizes = axes.map((axis) => extentOf(axis, extents))
    const length = sizes.reduce((product, size) => product * size, 1)
    const start = initial?.kind === 'constant' ? initial.value : 0
    if (dtype === 'i32')
      return makeTensor(
        axes,
        sizes,
        Int32Array.from({ length }, () => (role === 'state' ? start : Math.floor(next() * places))),
      )
    if (dtype === 'bool')
      return makeTensor(
        axes,
        sizes,
        Int32Array.from({ length }, () => (next() < 0.5 ? 1 : 0)),
      )
    const [least, most] = range
    const draw = (): number => (role === 'state' ? start : Math.fround(least + next() * (most - least)))
    return makeTensor(axes, sizes, Float64Array.from({ length }, draw))
  }
}

export interface Trial {
  /** Trainable operands, by name. */
  readonly shapes: Readonly<Record<string, readonly Axis[]>>
  /** i32 inputs, by name; values below `places`. */
  readonly indices?: Readonly<Record<string, readonly Axis[]>>
  readonly places?: number
  readonly range?: readonly [number, number]
  readonly extents?: Extents
  /** The value to differentiate; contracted with random cotangents. */
  readonly build: (b: GraphBuilder, read: (name: string) => Node) => Node
}

/** A graph whose `loss` is the sum of a value times random cotangents. */
export function lossGraph(b: GraphBuilder, { shapes, indices = {}, build }: Trial): Graph {
  for (const [name, axes] of Object.entries(shapes)) {
    b.declare({ name, role: 'trainable', dtype: 'f32', stored: axes.map((axis) => [axis]) })
  }
  for (const [name, axes] of Object.entries(indices)) {
    b.declare({ name, role: 'input', dtype: 'i32', stored: axes.map((axis) => [axis]) })
  }
  const value = build(b, (name) => b.read(name))
  b.declare({ name: 'cotangent', role: 'input', dtype: 'f32', stored: value.axes.map((axis) => [axis]) })
  const loss = b.sumAll(b.map('mul', value, b.read('cotangent')), value.axes)
  b.define({
    name: 'loss',
    outputs: [
      { name: 'loss', node: loss },
      { name: 'weight', node: b.float(1) },
    ],
    writes: [],
  })
  return b.finish()
}

export interface Mismatch {
  readonly name: string
  readonly index: number
  readonly expected: number
  readonly actual: number
}

/** Elements of gradients that differ from central differences by more than 1e-6 of the greatest one. */
export function mismatches(b: GraphBuilder, trial: Trial): { wrong: Mismatch[]; largest: number } {
  const graph = lossGraph(b, trial)
  const { extents = {}, range = [-2, 2], places = 3 } = trial
  const adjoint = through(graph, differentiate())
  const values = randomValues(adjoint, extents, { range, places })
  const run = (which: Graph, fn: string, given: ReadonlyMap<string, Tensor>) =>
    interpret(which, fn, { values: given, extents, arithmetic: float64 })
  const { writes } = run(adjoint, 'accumulate', values)
  const lossAt = (name: string, index: number, step: number): number => {
    const tensor = values.get(name) as Tensor
    const moved = Float64Array.from(tensor.data)
    moved[index] = (moved[index] as number) + step
    const given = new Map(values).set(name, makeTensor(tensor.axes, tensor.extents, moved))
    return run(graph, 'loss', given).outputs.get('loss')?.data[0] as number
  }
  const found: Mismatch[] = []
  let largest = 0
  for (const name of Object.keys(trial.shapes)) {
    const gradient = writes.get(`grad/${name}`) as Tensor
    const step = 1e-5
    gradient.data.forEach((actual: number, index: number) => {
      const expected = (lossAt(name, index, step) - lossAt(name, index, -step)) / (2 * step)
      largest = Math.max(largest, Math.abs(expected))
      found.push({ name, index, expected, actual })
    })
  }
  const wrong = found.filter(({ expected, actual }) => !(Math.abs(expected - actual) <= 1e-6 * Math.max(1, largest)))
  return { wrong, largest }
}
