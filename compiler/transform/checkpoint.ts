// Recomputation (Chen et al. 2016, "Training deep nets with sublinear memory cost"): the backward pass of a chosen layer
// uses forward values computed again from the layer's input instead of kept ones. Which layers is the plan's decision.

import { isOp, rootsOf, topological } from '../graph/node.ts'
import type { Graph, Node } from '../graph/node.ts'
import { functionNamed } from './pass.ts'
import type { Pass } from './pass.ts'
import { builderAfter, Copier, remake } from './rebuild.ts'
import { forwardRoots } from './states.ts'

export type CheckpointedLayers = 'none' | 'every' | ReadonlySet<number>

/**
 * In the function `accumulate`, backward nodes of the chosen layers read clones of that layer's forward nodes. What comes
 * into a layer from outside goes through `barrier(x, "layer n", after)`, with `after` the cotangent that has arrived at
 * the layer, so that the clones are neither shared with the first computation nor made before they are needed. They stand
 * directly before the first backward node that needs one.
 *
 * The bits are the same: the clones are the same operations, and random numbers come from a counter. Values that depend on
 * no activation (masks, angles, parameters and what is made of those alone) are shared, not cloned.
 *
 * Last pass: simplification would not undo it, but it would move the clones.
 */
export function checkpointLayers(layers: CheckpointedLayers, name = 'accumulate'): Pass {
  const chosen = (layer: number | undefined): layer is number =>
    layer !== undefined && layers !== 'none' && (layers === 'every' || layers.has(layer))
  return {
    name: 'checkpointLayers',
    summary: `forward values of ${describe(layers)} are computed again in the backward pass`,
    run: (graph, { provenance }) => {
      if (layers === 'none') return graph
      const builder = builderAfter(graph)
      const copier = new Copier(builder, provenance)
      const accumulate = functionNamed(graph, name)
      const forward = topological(forwardRoots(accumulate))
      copier.add(forward)
      const nodes = topological(rootsOf(accumulate))
      const clones = new Clones(copier, graph, forward, nodes)
      const isForward = new Set(forward)
      for (const node of nodes) {
        if (isForward.has(node)) continue
        const layer = node.layer
        builder.layer = layer
        const inputs = chosen(layer)
          ? node.inputs.map((input) => clones.of(input, layer, node))
          : node.inputs.map((input) => copier.of(input))
        builder.layer = layer
        copier.place(node, remake(builder, node, inputs))
      }
      copier.add(graph.functions.flatMap(rootsOf))
      for (const fn of graph.functions) builder.define(copier.fn(fn))
      return builder.finish()
    },
  }
}

function describe(layers: CheckpointedLayers): string {
  if (layers === 'none') return 'no layer'
  return layers === 'every' ? 'every layer' : `layers ${[...layers].join(', ')}`
}

/** Clones of forward nodes, by layer. */
class Clones {
  readonly #copier: Copier
  readonly #forward: ReadonlySet<Node>
  readonly #activations: ReadonlySet<Node>
  /** The function's nodes in order. */
  readonly #nodes: readonly Node[]
  readonly #byLayer = new Map<number, Map<Node, Node>>()

  constructor(copier: Copier, graph: Graph, forward: readonly Node[], nodes: readonly Node[]) {
    this.#copier = copier
    this.#forward = new Set(forward)
    this.#activations = activationsAmong(graph, forward)
    this.#nodes = nodes
  }

  /** What a backward node of the layer has to read in place of one of its operands. */
  of(operand: Node, layer: number, user: Node): Node {
    if (!this.#activations.has(operand)) return this.#copier.of(operand)
    const clones = this.#byLayer.get(layer) ?? this.#cloneLayer(layer, user)
    return clones.get(operand) ?? this.#copier.of(operand)
  }

  /** All of the layer that its backward pass reads, in the order of the first computation. */
  #cloneLayer(layer: number, first: Node): Map<Node, Node> {
    const clones = new Map<Node, Node>()
    this.#byLayer.set(layer, clones)
    const after = this.#arrived(layer, first)
    const backward = this.#nodes.filter((node) => node.layer === layer && !this.#forward.has(node))
    const wanted = backward.flatMap((node) => node.inputs).filter((input) => this.#activations.has(input))
    const { builder } = this.#copier
    for (const node of this.#neededFrom(wanted, layer)) {
      builder.layer = layer
      const clone =
        node.layer === layer && !isOp(node, 'read')
          ? remake(
              builder,
              node,
              node.inputs.map((input) => clones.get(input) ?? this.#copier.of(input)),
            )
          : builder.barrier(this.#copier.of(node), `layer ${layer}`, after)
      clones.set(node, clone)
    }
    return clones
  }

  /** Activations of the layer that the wanted ones depend on, and those from outside that these begin with. */
  #neededFrom(wanted: readonly Node[], layer: number): Node[] {
    const seen = new Set<Node>()
    const open = [...wanted]
    for (let node = open.pop(); node; node = open.pop()) {
      if (seen.has(node)) continue
      seen.add(node)
      if (node.layer !== layer) continue
      for (const input of node.inputs) {
        // The seed is no activation, but random numbers drawn again must not be those that were kept.
        if (this.#activations.has(input) || isOp(node, 'random')) open.push(input)
      }
    }
    return [...seen].sort((a, b) => a.id - b.id)
  }

  /** The latest value made so far outside the layer that its backward pass continues from. */
  #arrived(layer: number, first: Node): Node | undefined {
    let latest: Node | undefined
    for (const node of this.#nodes) {
      if (node.layer !== layer || this.#forward.has(node)) continue
      for (const input of node.inputs) {
        const outside = !this.#forward.has(input) && input.layer !== layer && input.inputs.length > 0
        if (outside && input.id < first.id && (latest === undefined || input.id > latest.id)) latest = input
      }
    }
    return latest && this.#copier.of(latest)
  }
}

/**
 * What has to be computed again: floats that depend on the step's inputs (the seed of random numbers is one), and
 * everything made of them. Conditions and integers made of integers alone are not among them: a mask is cheap to make and large to keep.
 */
function activationsAmong(graph: Graph, forward: readonly Node[]): ReadonlySet<Node> {
  const activations = new Set<Node>()
  const fromInputs = new Set<Node>()
  for (const node of forward) {
    if (isOp(node, 'read')) {
      if (graph.declarations.get(node.attrs.name)?.role === 'input') {
        fromInputs.add(node)
        // Rows that were fetched: what is made of them again must not be what was made of them first.
        if (node.dtype === 'f32') activations.add(node)
      }
      continue
    }
    if (node.inputs.some((input) => fromInputs.has(input))) fromInputs.add(node)
    const float = node.dtype === 'f32' && fromInputs.has(node)
    if (float || node.inputs.some((input) => activations.has(input))) activations.add(node)
  }
  return activations
}
