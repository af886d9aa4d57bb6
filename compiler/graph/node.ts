// The graph's data: declarations, interned immutable nodes, functions. What an operation means is in `ops.ts` and
// `elementwise.ts`; where a node came from is in a side table (`Spans`), so that provenance never breaks sharing.

import type { Axis, DType } from './axis.ts'
import type { Place } from '../diagnostic.ts'

/** How a value lies in memory or on disk: dimensions outermost first, each one axis or several merged ones. */
export type StoredLayout = readonly (readonly Axis[])[]

/**
 * Who owns a declared value and how long it lives: `frozen` comes from the checkpoint and is only read; `trainable`
 * comes from the checkpoint or an adapter and is updated; `state` belongs to the optimizer or to accumulation and
 * starts at `initial`; `input` is new at every call.
 */
export type Role = 'frozen' | 'trainable' | 'state' | 'input'

export interface Declaration {
  readonly name: string
  readonly role: Role
  /** As stored. Floats of fewer bits are widened when read: a `read` node is always f32, i32 or bool. */
  readonly dtype: DType
  readonly stored: StoredLayout
  /** First value of a `state`; of a `trainable` with no file behind it, see `Initial`. */
  readonly initial?: Initial
  /** Of an `input` that nobody writes: before a call it is filled with rows of a frozen tensor. */
  readonly rows?: FetchedRows
}

/** For each element of the input `ids`, in its stored order, that row of the frozen tensor `table`. */
export interface FetchedRows {
  readonly table: string
  readonly ids: string
}

/** `normal` and `uniform` are seeded by the declaration's name and the recipe's seed (counter-based, same bits anywhere). */
export type Initial =
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'uniform'; readonly bound: number }
  | { readonly kind: 'normal'; readonly deviation: number }

export type StructuralOp =
  | 'read'
  | 'constant'
  | 'table'
  | 'iota'
  | 'extent'
  | 'random'
  | 'map'
  | 'sum'
  | 'maximum'
  | 'dot'
  | 'logSumExp'
  | 'softmaxDot'
  | 'gather'
  | 'scatterAdd'
  | 'rename'
  | 'split'
  | 'merge'
  | 'pick'
  | 'stack'
  | 'broadcast'
  | 'barrier'

/** Attributes by operation; every value prints. */
export interface Attributes {
  read: { readonly name: string }
  constant: { readonly value: number; readonly dtype: DType }
  /** Numbers known to the compiler, along one axis (rotary frequencies). */
  table: { readonly axis: Axis; readonly values: readonly number[] }
  iota: { readonly axis: Axis }
  /** The run-time number of elements along an axis, as i32. */
  extent: { readonly axis: Axis }
  /** Uniform in [0, 1) from a counter: the flat index over `axes`, the input (a seed, i32 scalar) and `stream`. */
  random: { readonly axes: readonly Axis[]; readonly stream: number }
  map: { readonly fn: string }
  sum: { readonly over: Axis }
  maximum: { readonly over: Axis }
  /** `over` in the order of the chain. */
  dot: { readonly over: readonly Axis[] }
  logSumExp: { readonly over: Axis; readonly block: number }
  softmaxDot: { readonly over: Axis; readonly block: number }
  gather: { readonly axis: Axis }
  scatterAdd: { readonly axis: Axis }
  rename: { readonly from: Axis; readonly to: Axis }
  split: { readonly axis: Axis; readonly into: readonly Axis[] }
  merge: { readonly axes: readonly Axis[]; readonly into: Axis }
  pick: { readonly axis: Axis; readonly index: number }
  stack: { readonly axis: Axis }
  broadcast: { readonly axes: readonly Axis[] }
  /** Identity that keeps a recomputation apart from the first computation; a second input only orders it. */
  barrier: { readonly tag: string }
}

interface NodeOf<K extends StructuralOp> {
  /** Creation order within its builder: the order in which kernels are placed when nothing else decides. */
  readonly id: number
  readonly op: K
  readonly inputs: readonly Node[]
  readonly attrs: Attributes[K]
  /** Canonically sorted. */
  readonly axes: readonly Axis[]
  readonly dtype: DType
  /** Which repeated layer of the model it belongs to (0…), or undefined outside the repeated layers. */
  readonly layer: number | undefined
}

export type Node<K extends StructuralOp = StructuralOp> = { [P in K]: NodeOf<P> }[K]

export function isOp<K extends StructuralOp>(node: Node, op: K): node is Node & Node<K> {
  return node.op === op
}

/** A node is the function `name` applied elementwise. */
export function isMap(node: Node, fn?: string): node is Node & Node<'map'> {
  return node.op === 'map' && (fn === undefined || (node as Node<'map'>).attrs.fn === fn)
}

/** What one entry point computes: values to hand out and declared values to overwrite once everything is read. */
export interface GraphFunction {
  readonly name: string
  readonly outputs: readonly { readonly name: string; readonly node: Node }[]
  readonly writes: readonly { readonly name: string; readonly node: Node }[]
}

export interface Graph {
  readonly axes: readonly Axis[]
  readonly declarations: ReadonlyMap<string, Declaration>
  readonly functions: readonly GraphFunction[]
}

/** Names and source places of nodes, kept beside the graph. */
export class Provenance {
  readonly #names = new WeakMap<Node, string>()
  readonly #places = new WeakMap<Node, Place>()

  name(node: Node): string | undefined {
    return this.#names.get(node)
  }

  place(node: Node): Place | undefined {
    return this.#places.get(node)
  }

  /** The first name and place win: sharing must not rename. */
  note(node: Node, name: string | undefined, place: Place | undefined): void {
    if (name !== undefined && !this.#names.has(node)) this.#names.set(node, name)
    if (place !== undefined && !this.#places.has(node)) this.#places.set(node, place)
  }
}

/** Roots of a function in a fixed order: outputs, then writes. */
export function rootsOf(fn: GraphFunction): Node[] {
  return [...fn.outputs, ...fn.writes].map((root) => root.node)
}

/** All nodes that the roots need, inputs before users, otherwise by creation. */
export function topological(roots: readonly Node[]): Node[] {
  const seen = new Set<Node>()
  const stack = [...roots]
  while (stack.length > 0) {
    const node = stack.pop()
    if (node === undefined || seen.has(node)) continue
    seen.add(node)
    stack.push(...node.inputs)
  }
  // Inputs are created before their users, so creation order is a topological one.
  return [...seen].sort((a, b) => a.id - b.id)
}

/** Users of every node among `nodes`, each user once per operand position it takes. */
export function usersOf(nodes: readonly Node[]): Map<Node, Node[]> {
  const users = new Map<Node, Node[]>()
  for (const node of nodes) users.set(node, users.get(node) ?? [])
  for (const node of nodes) {
    for (const input of node.inputs) {
      const list = users.get(input)
      if (list) list.push(node)
      else users.set(input, [node])
    }
  }
  return users
}
