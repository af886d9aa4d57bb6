// Which nodes share a kernel. Contractions and reductions open regions; elementwise work joins the region that produces
// its operands, or is repeated inside its consumers where that is cheap. Values over the axes of a streaming softmax's
// scores are never stored: they exist as tiles inside stream regions.

import { InternalError } from '../diagnostic.ts'
import { elementCount, hasAxes, sameAxes, withoutAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import { elementwiseOp } from '../graph/elementwise.ts'
import { isOp, rootsOf, topological, usersOf } from '../graph/node.ts'
import type { GraphFunction, Node } from '../graph/node.ts'
import { viewOps } from './scope.ts'

export type RegionKind = 'rows' | 'contraction' | 'softmax' | 'stream' | 'columns' | 'scatter'

export interface Region {
  readonly kind: RegionKind
  /** Members in creation order; the first opened the region. */
  readonly nodes: Node[]
  /** For `rows`: the axes of its elements. For streams: the axes of the scores. */
  readonly space: readonly Axis[]
  /** For `rows`: the axis within a row, the last of the layout; absent for scalars. */
  readonly inner: Axis | undefined
  /** Memory order that its elements are walked in. */
  readonly layout: readonly Axis[]
}

export interface Partition {
  /** In an order in which every region comes after those it reads. */
  readonly regions: readonly Region[]
  readonly regionOf: ReadonlyMap<Node, Region>
  /** Nodes that some other region, or the caller, reads: these are stored. */
  readonly stored: ReadonlySet<Node>
  isVirtual(node: Node): boolean
}

/** Floating-point operations per element up to which an operand is worked out again where it is used. */
const cheap = 4

export function partition(fn: GraphFunction, layout: (node: Node) => readonly Axis[]): Partition {
  return new Partitioner(fn, layout).run()
}

class Partitioner {
  readonly #nodes: readonly Node[]
  readonly #users: Map<Node, Node[]>
  readonly #roots: ReadonlySet<Node>
  readonly #layout: (node: Node) => readonly Axis[]
  readonly #spaces: readonly (readonly Axis[])[]
  readonly #regions: Region[] = []
  readonly #regionOf = new Map<Node, Region>()
  readonly #cost = new Map<Node, number>()

  constructor(fn: GraphFunction, layout: (node: Node) => readonly Axis[]) {
    this.#nodes = topological(rootsOf(fn))
    this.#users = usersOf(this.#nodes)
    this.#roots = new Set(rootsOf(fn))
    this.#layout = layout
    this.#spaces = this.#nodes
      .filter((node) => node.op === 'logSumExp' || node.op === 'softmaxDot')
      .map((node) => (node.inputs[0] as Node).axes)
  }

  run(): Partition {
    for (const node of this.#nodes) this.#place(node)
    const stored = new Set<Node>()
    for (const node of this.#nodes) {
      if (this.#roots.has(node)) stored.add(node)
      for (const dependency of this.#dependencies(node)) {
        if (this.#regionOf.get(dependency) !== this.#regionOf.get(node)) stored.add(dependency)
      }
    }
    for (const node of stored) {
      if (!this.#regionOf.has(node)) throw new InternalError(`${node.op} must be stored but no kernel computes it`)
    }
    return { regions: this.#regions, regionOf: this.#regionOf, stored, isVirtual: (node) => this.#isVirtual(node) }
  }

  #isVirtual(node: Node): boolean {
    const holdsWork = isOp(node, 'dot') || isOp(node, 'map') || isOp(node, 'random') || isOp(node, 'stack')
    return holdsWork && this.#spaces.some((space) => hasAxes(node.axes, space))
  }

  /** Placed nodes that a node reads, through nodes that no kernel stores. */
  #dependencies(node: Node): Set<Node> {
    const found = new Set<Node>()
    const seen = new Set<Node>()
    const visit = (input: Node): void => {
      if (seen.has(input)) return
      seen.add(input)
      if (this.#regionOf.has(input)) found.add(input)
      else for (const next of input.inputs) visit(next)
    }
    for (const input of node.inputs) visit(input)
    return found
  }

  /** Those reached through elementwise work alone, at the same place in every axis. */
  #direct(node: Node): Set<Node> {
    const found = new Set<Node>()
    const visit = (input: Node): void => {
      if (this.#regionOf.has(input)) found.add(input)
      else if (isOp(input, 'map') || isOp(input, 'broadcast')) for (const next of input.inputs) visit(next)
    }
    for (const input of node.inputs) visit(input)
    return found
  }

  #order(region: Region): number {
    return this.#regions.indexOf(region)
  }

  /** Whether everything the node reads is there when `region` runs, and what comes from `region` itself at its own place. */
  #canJoin(node: Node, region: Region): boolean {
    const direct = this.#direct(node)
    for (const dependency of this.#dependencies(node)) {
      const owner = this.#regionOf.get(dependency) as Region
      if (owner === region ? !direct.has(dependency) : this.#order(owner) > this.#order(region)) return false
    }
    return !this.#readsThroughView(node, region)
  }

  #readsThroughView(node: Node, region: Region): boolean {
    const seen = new Set<Node>()
    const visit = (input: Node, viewed: boolean): boolean => {
      if (this.#regionOf.has(input)) return viewed && this.#regionOf.get(input) === region
      const key = viewed ? input : undefined
      if (key && seen.has(key)) return false
      if (key) seen.add(key)
      const next = viewed || !(isOp(input, 'map') || isOp(input, 'broadcast'))
      return input.inputs.some((deeper) => visit(deeper, next))
    }
    return node.inputs.some((input) => visit(input, false))
  }

  #open(node: Node, kind: RegionKind, space: readonly Axis[], inner?: Axis): void {
    const region: Region = { kind, nodes: [node], space, inner, layout: this.#layout(node) }
    this.#regions.push(region)
    this.#regionOf.set(node, region)
  }

  #join(node: Node, region: Region): void {
    region.nodes.push(node)
    this.#regionOf.set(node, region)
  }

  #place(node: Node): void {
    switch (node.op) {
      case 'read':
      case 'constant':
      case 'table':
      case 'iota':
      case 'extent':
        if (this.#roots.has(node)) this.#placeElementwise(node)
        return
      case 'rename':
      case 'split':
      case 'merge':
      case 'pick':
      case 'broadcast':
      case 'barrier':
        if (this.#roots.has(node) || this.#feedsScatterBase(node)) this.#placeElementwise(node)
        return
      case 'map':
      case 'random':
      case 'gather':
      case 'stack':
        if (!this.#isVirtual(node) && !this.#isInlined(node)) this.#placeElementwise(node)
        return
      case 'sum':
      case 'maximum':
        return this.#placeReduction(node)
      case 'dot':
        return this.#placeDot(node)
      case 'logSumExp':
      case 'softmaxDot':
        return this.#placeSoftmax(node)
      case 'scatterAdd':
        return this.#open(node, 'scatter', node.axes)
    }
  }

  #feedsScatterBase(node: Node): boolean {
    return (this.#users.get(node) ?? []).some((user) => user.op === 'scatterAdd' && user.inputs[0] === node)
  }

  /** What it costs to work a value out where it is used, down to what is stored. */
  #inlineCost(node: Node): number {
    const known = this.#cost.get(node)
    if (known !== undefined) return known
    let cost = 0
    if (!this.#regionOf.has(node)) {
      if (isOp(node, 'map')) cost += elementwiseOp(node.attrs.fn)?.flops ?? 0
      else if (isOp(node, 'random')) cost += 20
      else if (isOp(node, 'stack')) cost += node.inputs.length
      for (const input of node.inputs) cost += this.#inlineCost(input)
    }
    this.#cost.set(node, cost)
    return cost
  }

  #isInlined(node: Node): boolean {
    if (this.#roots.has(node) || this.#feedsScatterBase(node)) return false
    const cost = this.#inlineCost(node)
    if (node.axes.length === 0 && this.#dependencies(node).size === 0 && cost <= cheap) return true
    if (this.#dependencies(node).size === 0 && cost <= cheap && !this.#readsTensors(node)) return true
    const users = (this.#users.get(node) ?? []).flatMap((user) => this.#throughViews(user))
    if (isOp(node, 'gather') && cost === 0 && new Set(users).size <= 1) return true
    return cost <= cheap && users.length === 1 && users.every((user) => user.op === 'dot' || user.op === 'softmaxDot')
  }

  #throughViews(user: Node): Node[] {
    if (!viewOps.has(user.op) || this.#roots.has(user)) return [user]
    return (this.#users.get(user) ?? []).flatMap((next) => this.#throughViews(next))
  }

  #readsTensors(node: Node): boolean {
    if (isOp(node, 'read')) return node.axes.length > 0
    return node.inputs.some((input) => this.#readsTensors(input))
  }

  #placeElementwise(node: Node): void {
    const direct = this.#direct(node)
    const hosts = [...new Set([...direct].map((dependency) => this.#regionOf.get(dependency) as Region))]
    hosts.sort((a, b) => this.#order(b) - this.#order(a))
    for (const host of hosts) {
      if (!this.#canJoin(node, host) || !this.#liesAlike(node, host)) continue
      if (host.kind === 'contraction' && sameAxes(node.axes, (host.nodes[0] as Node).axes)) return this.#join(node, host)
      if (host.kind === 'rows' && this.#fitsRows(node.axes, host)) return this.#join(node, host)
    }
    // Elementwise work over the same space as its neighbour that shares an operand: one pass over memory for both.
    const layout = this.#layout(node)
    const previous = this.#regions.at(-1)
    if (previous?.kind === 'rows' && sameAxes(previous.space, node.axes) && this.#canJoin(node, previous)) {
      if (this.#liesAlike(node, previous) && node.axes.length > 0) return this.#join(node, previous)
    }
    this.#open(node, 'rows', node.axes, layout.at(-1))
  }

  /** Whether a node of the region's shape would be stored along the region's walk. */
  #liesAlike(node: Node, region: Region): boolean {
    const layout = this.#layout(node)
    if (layout.length !== region.layout.length) return true
    return layout.every((axis, place) => axis === region.layout[place])
  }

  #fitsRows(axes: readonly Axis[], region: Region): boolean {
    if (sameAxes(axes, region.space)) return true
    return region.inner !== undefined && sameAxes(axes, withoutAxes(region.space, [region.inner]))
  }

  #placeReduction(node: Node<'sum'> | Node<'maximum'>): void {
    const operand = node.inputs[0] as Node
    const { over } = node.attrs
    for (const host of this.#regions.toReversed()) {
      if (host.kind !== 'rows' || host.inner !== over || !sameAxes(operand.axes, host.space)) continue
      const touches = [...this.#dependencies(node)].some((dependency) => this.#regionOf.get(dependency) === host)
      if (touches && this.#canJoin(node, host)) return this.#join(node, host)
      if (touches) break
    }
    const along = this.#alongMemory(operand)
    if (along === over) return this.#open(node, 'rows', operand.axes, over)
    this.#open(node, 'columns', operand.axes, over)
  }

  /** The axis along which most of an operand's memory is contiguous. */
  #alongMemory(operand: Node): Axis | undefined {
    let best: { axis: Axis; elements: number } | undefined
    const seen = new Set<Node>()
    const visit = (node: Node): void => {
      if (seen.has(node)) return
      seen.add(node)
      if (this.#regionOf.has(node) || isOp(node, 'read')) {
        const axis = this.#layout(node).at(-1)
        const elements = elementCount(node.axes)
        if (axis && operand.axes.includes(axis) && (!best || elements > best.elements)) best = { axis, elements }
        return
      }
      for (const input of node.inputs) visit(input)
    }
    visit(operand)
    return best?.axis ?? this.#layout(operand).at(-1)
  }

  #placeDot(node: Node<'dot'>): void {
    if (this.#isVirtual(node)) return
    const virtual = node.inputs.filter((input) => this.#holdsVirtual(input))
    if (virtual.length === 0) return this.#open(node, 'contraction', node.axes)
    if (virtual.length > 1) throw new InternalError('a contraction of two score tensors is not supported')
    const space = (virtual[0] as Node).axes
    for (const host of this.#regions) {
      if (host.kind !== 'stream' || !sameAxes(host.space, space) || !this.#canJoin(node, host)) continue
      const first = host.nodes[0] as Node<'dot'>
      const same = first.attrs.over.length === node.attrs.over.length && first.attrs.over.every((axis, place) => axis === node.attrs.over[place])
      if (same) return this.#join(node, host)
    }
    this.#open(node, 'stream', space)
  }

  #holdsVirtual(node: Node): boolean {
    if (this.#isVirtual(node)) return true
    return !this.#regionOf.has(node) && viewOps.has(node.op) && node.inputs.some((input) => this.#holdsVirtual(input))
  }

  #placeSoftmax(node: Node<'logSumExp'> | Node<'softmaxDot'>): void {
    const scores = node.inputs[0] as Node
    for (const host of this.#regions) {
      const first = host.nodes[0] as Node
      const same = host.kind === 'softmax' && first.inputs[0] === scores
      const attrs = first.attrs as { over?: Axis; block?: number }
      if (same && attrs.over === node.attrs.over && attrs.block === node.attrs.block && this.#canJoin(node, host)) {
        return this.#join(node, host)
      }
    }
    this.#open(node, 'softmax', scores.axes)
  }
}
