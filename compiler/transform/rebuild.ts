// How passes rebuild a graph: nodes go one by one, in creation order, through a fresh builder, keeping layer, name and
// place. Creation order is the order of kernels, so no pass may copy in another. Knows no operation.

import { InternalError } from '../diagnostic.ts'
import { GraphBuilder } from '../graph/builder.ts'
import { isOp, rootsOf, topological } from '../graph/node.ts'
import type { Declaration, Graph, GraphFunction, Node, Provenance } from '../graph/node.ts'

/** Looks at the copy of a node and returns what stands for it from now on: the copy itself or something else. */
export type Rewrite = (copy: Node, original: Node) => Node

/** A builder with the axes of a graph and its declarations, some of them changed or added (by name). */
export function builderAfter(graph: Graph, changed: readonly Declaration[] = []): GraphBuilder {
  const declarations = new Map(graph.declarations)
  for (const declaration of changed) declarations.set(declaration.name, declaration)
  return GraphBuilder.after({ ...graph, declarations })
}

/** The same operation on other operands. */
export function remake(builder: GraphBuilder, node: Node, inputs: readonly Node[]): Node {
  return isOp(node, 'map') ? builder.map(node.attrs.fn, ...inputs) : builder.make(node.op, inputs, node.attrs)
}

/** Copies nodes of one graph into the builder of the next. */
export class Copier {
  readonly builder: GraphBuilder
  readonly #provenance: Provenance
  readonly #copies = new Map<Node, Node>()

  constructor(builder: GraphBuilder, provenance: Provenance) {
    this.builder = builder
    this.#provenance = provenance
  }

  /** What stands for a node of the old graph. Throws InternalError when it was not copied. */
  of(node: Node): Node {
    const copy = this.#copies.get(node)
    if (copy === undefined) throw new InternalError(`node ${node.id} (${node.op}) was used before it was copied`)
    return copy
  }

  /** Copies everything that the roots need and that is not copied yet, in creation order. */
  add(roots: readonly Node[], rewrite: Rewrite = (copy) => copy): void {
    for (const node of topological(roots)) {
      if (this.#copies.has(node)) continue
      this.builder.layer = node.layer
      const copy = rewrite(
        remake(
          this.builder,
          node,
          node.inputs.map((input) => this.of(input)),
        ),
        node,
      )
      this.place(node, copy)
    }
    this.builder.layer = undefined
  }

  /** From now on `copy` stands for `node`. */
  place(node: Node, copy: Node): void {
    this.#copies.set(node, copy)
    this.#provenance.note(copy, this.#provenance.name(node), this.#provenance.place(node))
  }

  /** A function whose roots are all copied, under its own or another name. */
  fn(original: GraphFunction, name = original.name): GraphFunction {
    const copied = (roots: GraphFunction['outputs']): GraphFunction['outputs'] =>
      roots.map((root) => ({ name: root.name, node: this.of(root.node) }))
    return { name, outputs: copied(original.outputs), writes: copied(original.writes) }
  }
}

/** Rebuilds all functions of a graph in one creation order. */
export function rebuild(graph: Graph, provenance: Provenance, rewrite: (builder: GraphBuilder) => Rewrite): Graph {
  const builder = builderAfter(graph)
  const copier = new Copier(builder, provenance)
  copier.add(graph.functions.flatMap(rootsOf), rewrite(builder))
  for (const fn of graph.functions) builder.define(copier.fn(fn))
  return builder.finish()
}
