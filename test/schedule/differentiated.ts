// Random graphs with a loss and the gradients of everything trainable, for properties of schedules. Only for tests.

import { sortAxes } from '../../compiler/graph/axis.ts'
import type { GraphBuilder } from '../../compiler/graph/builder.ts'
import { elementwiseOp } from '../../compiler/graph/elementwise.ts'
import { isMap, isOp, rootsOf, topological, Provenance } from '../../compiler/graph/node.ts'
import type { Graph, Node } from '../../compiler/graph/node.ts'
import { countElements, extentOf, makeTensor } from '../../compiler/graph/tensor.ts'
import type { Tensor } from '../../compiler/graph/tensor.ts'
import { differentiate } from '../../compiler/transform/differentiate.ts'
import { builderAfter, Copier } from '../../compiler/transform/rebuild.ts'
import type { Pass } from '../../compiler/transform/pass.ts'
import { functionNamed } from '../../compiler/transform/pass.ts'
import type { RandomGraph } from '../support/randomGraph.ts'

export interface Differentiated extends RandomGraph {
  /** Operations that a gradient flowed back through; elementwise ones by their own names. */
  readonly differentiated: ReadonlySet<string>
}

/** The sum of every float that the graph computes, and of the trainables, as loss; then its gradients. */
export function withGradients({ graph, values, extents }: RandomGraph, after: readonly Pass[] = []): Differentiated {
  const lossy = withLoss(graph)
  const context = { provenance: new Provenance() }
  const adjoint = [differentiate(), ...after].reduce((rest, pass) => pass.run(rest, context), lossy)
  const all = new Map<string, Tensor>(values)
  for (const { name, stored, role } of adjoint.declarations.values()) {
    if (all.has(name) || role !== 'state') continue
    const axes = sortAxes(stored.flat())
    const sizes = axes.map((axis) => extentOf(axis, extents))
    all.set(
      name,
      makeTensor(
        axes,
        sizes,
        Float64Array.from({ length: countElements(sizes) }, (_, i) => Math.fround(Math.cos(i))),
      ),
    )
  }
  return { graph: adjoint, values: all, extents, differentiated: opsWithGradient(lossy) }
}

function withLoss(graph: Graph): Graph {
  const b: GraphBuilder = builderAfter(graph)
  const copier = new Copier(b, new Provenance())
  const roots = graph.functions.flatMap(rootsOf)
  copier.add(roots)
  const total = (node: Node): Node => b.sumAll(node, node.axes)
  const floats = [...new Set(roots)]
    .filter((node) => node.dtype === 'f32')
    .map((node) => total(b.map('tanh', copier.of(node))))
  const parameters = [...graph.declarations.values()]
    .filter(({ role }) => role === 'trainable')
    .map(({ name }) => b.read(name))
  const loss = [...floats, ...parameters.map((node) => total(b.map('mul', node, node)))].reduce((sum, part) =>
    b.map('add', sum, part),
  )
  b.define({ name: 'loss', outputs: [{ name: 'loss', node: loss }, { name: 'weight', node: b.float(1) }], writes: [] }) // prettier-ignore
  return b.finish()
}

function opsWithGradient(graph: Graph): Set<string> {
  const reached = new Set<Node>()
  for (const node of topological(rootsOf(functionNamed(graph, 'loss')))) {
    const starts = isOp(node, 'read') && graph.declarations.get(node.attrs.name)?.role === 'trainable'
    if (starts || (node.dtype === 'f32' && node.inputs.some((input) => reached.has(input)))) reached.add(node)
  }
  return new Set([...reached].map(nameOf))
}

/** `map` by its function's name. */
export function nameOf(node: Node): string {
  return isMap(node) ? (node as Node<'map'>).attrs.fn : node.op
}

/** Whether a gradient can flow back through an elementwise operation. */
export function flowsBack(fn: string): boolean {
  const op = elementwiseOp(fn)
  if (!op || op.gives !== 'f32') return false
  return op.takes.includes('f32')
}
