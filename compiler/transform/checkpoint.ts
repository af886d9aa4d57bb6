// Recomputation (Chen et al. 2016, "Training deep nets with sublinear memory cost"): the backward pass of a chosen layer
// uses forward values computed again from the layer's input and the values that are kept. Which is the plan's decision.

import { hasAxes } from '../graph/axis.ts'
import { isOp, rootsOf, topological } from '../graph/node.ts'
import type { Graph, Node } from '../graph/node.ts'
import { functionNamed } from './pass.ts'
import type { Pass } from './pass.ts'
import { builderAfter, Copier, remake } from './rebuild.ts'
import { forwardRoots } from './states.ts'

/** Of a layer that is computed again: what is kept all the same, as places among its activations (`forwardValues`). */
export type KeptValues = ReadonlySet<number>

/** By layer; layers that are not mentioned keep everything. `every` layer keeps nothing. */
export type Checkpoints = 'none' | 'every' | ReadonlyMap<number, KeptValues>

const nothing: KeptValues = new Set()

/** The forward pass of a function that accumulates gradients. */
export interface ForwardValues {
  readonly nodes: ReadonlySet<Node>
  /** By layer, in order of creation: what has to be computed again unless it is kept. */
  readonly activations: ReadonlyMap<number, readonly Node[]>
}

export function forwardValues(graph: Graph, name = 'accumulate'): ForwardValues {
  const forward = topological(forwardRoots(functionNamed(graph, name)))
  return { nodes: new Set(forward), activations: byLayer(activationsAmong(graph, forward)) }
}

/** All layers keep everything; what is cheap is worked out in the backward pass all the same, and not before. */
export function everythingKept({ activations }: ForwardValues): Checkpoints {
  return new Map([...activations].map(([layer, nodes]) => [layer, new Set(nodes.keys())]))
}

function byLayer(nodes: Iterable<Node>): Map<number, Node[]> {
  const found = new Map<number, Node[]>()
  for (const node of nodes) {
    if (node.layer === undefined) continue
    const known = found.get(node.layer)
    if (known) known.push(node)
    else found.set(node.layer, [node])
  }
  return found
}

/**
 * In the function `accumulate`, backward nodes of the chosen layers read clones of that layer's forward nodes. What comes
 * into a layer from outside, and what is kept of it, goes through `barrier(x, "layer n", after)`, with `after` the cotangent
 * that has arrived at the layer, so that the clones are neither shared with the first computation nor made before they are
 * needed. They stand directly before the first backward product that needs one, or whose elementwise neighbours do.
 *
 * The bits are the same: the clones are the same operations, and random numbers come from a counter. Values that depend on
 * no activation (masks, angles, parameters and what is made of those alone) are shared, not cloned.
 *
 * Last pass: simplification would not undo it, but it would move the clones.
 */
export function checkpointLayers(checkpoints: Checkpoints, name = 'accumulate'): Pass {
  const keptOf = (layer: number | undefined): KeptValues | undefined => {
    if (layer === undefined || checkpoints === 'none') return undefined
    return checkpoints === 'every' ? nothing : checkpoints.get(layer)
  }
  return {
    name: 'checkpointLayers',
    summary: `forward values of ${describe(checkpoints)} are computed again in the backward pass`,
    run: (graph, { provenance }) => {
      if (checkpoints === 'none') return graph
      const builder = builderAfter(graph)
      const copier = new Copier(builder, provenance)
      const accumulate = functionNamed(graph, name)
      const forward = topological(forwardRoots(accumulate))
      copier.add(forward)
      const isForward = new Set(forward)
      const backward = topological(rootsOf(accumulate)).filter((node) => !isForward.has(node))
      const clones = new Clones(copier, graph, forward, backward)
      const wantedAt = wantedBefore(
        backward.filter((node) => keptOf(node.layer) !== undefined),
        scoresAmong(forward),
        (node) => clones.isActivation(node),
      )
      for (const node of backward) {
        const { layer } = node
        const kept = keptOf(layer)
        const wanted = wantedAt.get(node)
        if (kept && wanted) clones.make(layer as number, kept, wanted, node)
        builder.layer = layer
        const inputs = node.inputs.map((input) => (kept ? clones.of(input, layer as number) : copier.of(input)))
        copier.place(node, remake(builder, node, inputs))
      }
      copier.add(graph.functions.flatMap(rootsOf))
      for (const fn of graph.functions) builder.define(copier.fn(fn))
      return builder.finish()
    },
  }
}

function describe(checkpoints: Checkpoints): string {
  if (checkpoints === 'none') return 'no layer'
  return checkpoints === 'every' ? 'every layer' : `layers ${[...checkpoints.keys()].join(', ')}`
}

/** Axes of score tensors. */
function scoresAmong(forward: readonly Node[]): readonly Node['axes'][] {
  return forward
    .filter((node) => isOp(node, 'logSumExp') || isOp(node, 'softmaxDot'))
    .map((node) => (node.inputs[0] as Node).axes)
}

/**
 * By backward node: the operands that must be there before it. A product that waits for its elementwise neighbours' operands
 * shares a kernel with them; computed behind it, those would be in the way. What lies over scores is one kernel, too.
 */
function wantedBefore(
  backward: readonly Node[],
  scores: readonly Node['axes'][],
  isWanted: (node: Node) => boolean,
): Map<Node, Node[]> {
  const overScores = (node: Node): boolean => scores.some((space) => hasAxes(node.axes, space))
  const streams = new Map<number | undefined, Node>()
  const anchors = new Map<Node, Node>()
  const wanted = new Map<Node, Node[]>()
  for (const node of backward) {
    const before = node.inputs.flatMap((input) => (input.layer === node.layer ? (anchors.get(input) ?? []) : []))
    const latest = before.reduce<Node | undefined>((a, b) => (a && a.id > b.id ? a : b), undefined)
    let anchor = opensKernel(node) ? node : (latest ?? node)
    if (overScores(node) || node.inputs.some(overScores)) {
      anchor = streams.get(node.layer) ?? node
      streams.set(node.layer, anchor)
    }
    anchors.set(node, anchor)
    const operands = node.inputs.filter(isWanted)
    if (operands.length > 0) wanted.set(anchor, [...(wanted.get(anchor) ?? []), ...operands])
  }
  return wanted
}

function opensKernel(node: Node): boolean {
  return isOp(node, 'dot') || isOp(node, 'logSumExp') || isOp(node, 'softmaxDot') || isOp(node, 'scatterAdd')
}

/** What the backward pass reads in place of forward nodes, by layer. */
class Clones {
  readonly #copier: Copier
  readonly #forward: ReadonlySet<Node>
  readonly #activations: ReadonlySet<Node>
  readonly #places = new Map<Node, number>()
  readonly #backward: readonly Node[]
  readonly #byLayer = new Map<number, { readonly made: Map<Node, Node>; readonly after: Node | undefined }>()

  constructor(copier: Copier, graph: Graph, forward: readonly Node[], backward: readonly Node[]) {
    this.#copier = copier
    this.#forward = new Set(forward)
    this.#activations = activationsAmong(graph, forward)
    for (const nodes of byLayer(this.#activations).values()) {
      for (const [place, node] of nodes.entries()) this.#places.set(node, place)
    }
    this.#backward = backward
  }

  isActivation(node: Node): boolean {
    return this.#activations.has(node)
  }

  /** What a backward node of the layer has to read in place of one of its operands. */
  of(operand: Node, layer: number): Node {
    return this.#byLayer.get(layer)?.made.get(operand) ?? this.#copier.of(operand)
  }

  /** The wanted values and all of the layer that they need, in the order of the first computation. */
  make(layer: number, kept: KeptValues, wanted: readonly Node[], first: Node): void {
    const { builder } = this.#copier
    const known = this.#byLayer.get(layer) ?? { made: new Map<Node, Node>(), after: this.#arrived(layer, first) }
    this.#byLayer.set(layer, known)
    const { made, after } = known
    const isGiven = (node: Node): boolean =>
      node.layer !== layer || isOp(node, 'read') || kept.has(this.#places.get(node) ?? -1)
    for (const node of this.#neededFrom(wanted, made, isGiven)) {
      builder.layer = layer
      const clone = isGiven(node)
        ? builder.barrier(this.#copier.of(node), `layer ${layer}`, after)
        : remake(
            builder,
            node,
            node.inputs.map((input) => made.get(input) ?? this.#copier.of(input)),
          )
      made.set(node, clone)
    }
  }

  /** Activations that the wanted ones depend on and that are not made yet, with the given ones that these begin with. */
  #neededFrom(wanted: readonly Node[], made: ReadonlyMap<Node, Node>, isGiven: (node: Node) => boolean): Node[] {
    const seen = new Set<Node>()
    const open = [...wanted]
    for (let node = open.pop(); node; node = open.pop()) {
      if (seen.has(node) || made.has(node)) continue
      seen.add(node)
      if (isGiven(node)) continue
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
    for (const node of this.#backward) {
      if (node.layer !== layer) continue
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
