// Cheap forward values are worked out again where the backward pass wants them: activations, normalised rows, anything
// that is elementwise work on one kept tensor. Memory is kept for what costs a contraction or a reduction to make.

import { elementCount, hasAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import { elementwiseOp } from '../graph/elementwise.ts'
import { isMap, isOp, rootsOf, topological } from '../graph/node.ts'
import type { Node } from '../graph/node.ts'
import { functionNamed } from './pass.ts'
import type { Pass } from './pass.ts'
import { builderAfter, Copier, remake } from './rebuild.ts'
import { forwardRoots } from './states.ts'

/** Floating-point operations per element up to which a value is worked out again rather than kept. */
const most = 80
/** Values with fewer elements per token (statistics of rows, scalars) are kept. */
const fewest = 32

/**
 * In the function `accumulate`, backward nodes read clones of forward values that derive, elementwise, from a single
 * tensor of their own size. The clones begin at `barrier(x, "again")`, so that they are not shared with the first
 * computation; they are the same operations, so the bits are the same.
 */
export function rematerialise(): Pass {
  return {
    name: 'rematerialise',
    summary: 'cheap forward values are computed again in the backward pass',
    run: (graph, { provenance }) => {
      const builder = builderAfter(graph)
      const copier = new Copier(builder, provenance)
      const accumulate = functionNamed(graph, 'accumulate')
      const forward = topological(forwardRoots(accumulate))
      copier.add(forward)
      const clones = new Clones(copier, forward)
      const kept = new Set(forward)
      for (const node of topological(rootsOf(accumulate))) {
        if (kept.has(node)) continue
        builder.layer = node.layer
        copier.place(
          node,
          remake(
            builder,
            node,
            node.inputs.map((input) => clones.of(input)),
          ),
        )
      }
      builder.layer = undefined
      copier.add(graph.functions.flatMap(rootsOf))
      for (const fn of graph.functions) builder.define(copier.fn(fn))
      return builder.finish()
    },
  }
}

class Clones {
  readonly #copier: Copier
  readonly #forward: ReadonlySet<Node>
  /** Axes of score tensors: what lies over them is never kept anyway. */
  readonly #scores: readonly (readonly Axis[])[]
  readonly #origins = new Map<Node, { readonly tensors: ReadonlySet<Node>; readonly flops: number }>()
  readonly #clones = new Map<Node, Node>()

  constructor(copier: Copier, forward: readonly Node[]) {
    this.#copier = copier
    this.#forward = new Set(forward)
    this.#scores = forward
      .filter((node) => isOp(node, 'logSumExp') || isOp(node, 'softmaxDot'))
      .map((node) => (node.inputs[0] as Node).axes)
  }

  of(node: Node): Node {
    return this.#forward.has(node) && this.#isDerived(node) ? this.#clone(node) : this.#copier.of(node)
  }

  /** As large as an activation, and not a parameter, whose memory is there in any case. */
  #isLarge(node: Node): boolean {
    const fixed = node.axes.filter((axis) => axis.extent === undefined)
    return fixed.length < node.axes.length && elementCount(fixed) >= fewest
  }

  #isDerived(node: Node): boolean {
    if (!isMap(node) || node.dtype !== 'f32' || !this.#isLarge(node)) return false
    if (this.#scores.some((space) => hasAxes(node.axes, space))) return false
    const { tensors, flops } = this.#originsOf(node)
    return tensors.size === 1 && flops <= most
  }

  /** Large tensors that elementwise work leads back to, and what the way costs. */
  #originsOf(node: Node): { readonly tensors: ReadonlySet<Node>; readonly flops: number } {
    const known = this.#origins.get(node)
    if (known) return known
    const tensors = new Set<Node>()
    let flops = isMap(node) ? (elementwiseOp(node.attrs.fn)?.flops ?? 0) : 0
    for (const input of node.inputs) {
      if (!this.#isLarge(input)) continue
      if (!this.#isDerived(input)) tensors.add(input)
      else {
        const before = this.#originsOf(input)
        flops += before.flops
        for (const tensor of before.tensors) tensors.add(tensor)
      }
    }
    const origins = { tensors, flops }
    this.#origins.set(node, origins)
    return origins
  }

  #clone(node: Node): Node {
    const known = this.#clones.get(node)
    if (known) return known
    const { builder } = this.#copier
    const inputs = node.inputs.map((input) => {
      if (!this.#isLarge(input)) return this.#copier.of(input)
      return this.#isDerived(input) ? this.#clone(input) : builder.barrier(this.#copier.of(input), 'again')
    })
    const clone = remake(builder, node, inputs)
    this.#clones.set(node, clone)
    return clone
  }
}
