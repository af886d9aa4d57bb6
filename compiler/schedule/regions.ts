// Which nodes share a kernel. Contractions and reductions open regions; elementwise work joins the region that produces
// its operands, or is repeated inside its consumers where that is cheap. Values over the axes of a streaming softmax's
// scores are never stored: they exist as tiles inside stream regions.

import { InternalError } from '../diagnostic.ts'
import { elementCount, sameAxes, withoutAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import { elementwiseOp } from '../graph/elementwise.ts'
import { isOp, topological, usersOf } from '../graph/node.ts'
import type { Declaration, Node } from '../graph/node.ts'
import { crosses, paysToCross } from './crossing.ts'
import type { ScheduleProfile } from './profile.ts'
import { viewOps } from './scope.ts'
import { scoresOf, streamShape, tileOnlyValues } from './scores.ts'
import type { Consumer, StreamShape } from './scores.ts'
import { fewerStores } from './stores.ts'

/** `softmax` streams its scores, `softmaxRows` reads them from memory. */
export type RegionKind = 'rows' | 'contraction' | 'softmax' | 'softmaxRows' | 'stream' | 'columns' | 'scatter'

export type ReductionNode = Node<'sum'> | Node<'maximum'>

export function isReduction(node: Node): node is ReductionNode {
  return node.op === 'sum' || node.op === 'maximum'
}

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

export interface Wanted {
  /** Nodes whose values have to be in memory. */
  readonly roots: readonly Node[]
  /** Roots that only copy another one to its declared place, behind everything else. */
  readonly copies: ReadonlySet<Node>
}

/** What decides how work is shared out among kernels besides the graph. */
export interface Surroundings {
  readonly layout: (node: Node) => readonly Axis[]
  readonly declarations: ReadonlyMap<string, Declaration>
  readonly profile: ScheduleProfile
}

export function partition(wanted: Wanted, surroundings: Surroundings): Partition {
  return new Partitioner(wanted, surroundings).run()
}

class Partitioner {
  readonly #nodes: readonly Node[]
  readonly #users: Map<Node, Node[]>
  readonly #roots: ReadonlySet<Node>
  readonly #copies: ReadonlySet<Node>
  readonly #layout: (node: Node) => readonly Axis[]
  readonly #surroundings: Surroundings
  readonly #tiles: ReadonlySet<Node>
  readonly #regions: Region[] = []
  readonly #regionOf = new Map<Node, Region>()
  readonly #cost = new Map<Node, number>()

  constructor({ roots, copies }: Wanted, surroundings: Surroundings) {
    const { layout } = surroundings
    this.#nodes = topological(roots)
    this.#users = usersOf(this.#nodes)
    this.#roots = new Set(roots)
    this.#copies = copies
    this.#layout = layout
    this.#surroundings = surroundings
    this.#tiles = tileOnlyValues(this.#nodes, this.#users, this.#roots, layout)
  }

  run(): Partition {
    for (const node of this.#nodes) this.#place(node)
    const stored = new Set<Node>()
    for (const node of this.#nodes) {
      if (this.#roots.has(node)) stored.add(node)
      if (!this.#regionOf.has(node)) continue
      for (const dependency of this.#dependencies(node)) {
        if (this.#regionOf.get(dependency) !== this.#regionOf.get(node)) stored.add(dependency)
      }
    }
    for (const node of stored) {
      if (!this.#regionOf.has(node)) throw new InternalError(`${node.op} must be stored but no kernel computes it`)
    }
    const fewer = fewerStores({
      stored,
      roots: this.#roots,
      regionOf: this.#regionOf,
      usersOf: (node) => this.#users.get(node) ?? [],
      dependencies: (node) => this.#dependencies(node),
    })
    const isVirtual = (node: Node): boolean => this.#tiles.has(node)
    // All of a region's values may be worked out by their users: then there is nothing left for a kernel of its own.
    const regions = this.#regions.filter(({ nodes }) => nodes.some((node) => fewer.has(node)))
    return { regions, regionOf: this.#regionOf, stored: fewer, isVirtual }
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

  /** Whether everything the node reads is there when `region` runs, and what comes from `region` itself at its own place. */
  #canJoin(node: Node, region: Region): boolean {
    if (this.#copies.has(node)) return false
    for (const dependency of this.#dependencies(node)) {
      if (this.#order(this.#regionOf.get(dependency) as Region) > this.#order(region)) return false
    }
    return !this.#readsElsewhere(node, region)
  }

  #order(region: Region): number {
    return this.#regions.indexOf(region)
  }

  /** Whether the node reads a member of the region at another place than its own, or in its own row for a reduction. */
  #readsElsewhere(node: Node, region: Region): boolean {
    const seen = { own: new Set<Node>(), viewed: new Set<Node>() }
    const visit = (input: Node, viewed: boolean): boolean => {
      if (this.#regionOf.has(input)) return viewed && this.#regionOf.get(input) === region
      const known = viewed ? seen.viewed : seen.own
      if (known.has(input)) return false
      known.add(input)
      return input.inputs.some((deeper) => visit(deeper, viewed || !readsOwnPlace(input)))
    }
    const viewed = !readsOwnPlace(node) && !isReduction(node) && !isOp(node, 'barrier')
    return node.inputs.some((input) => visit(input, viewed))
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
        if (this.#roots.has(node)) this.#placeElementwise(node)
        return
      case 'map':
      case 'random':
      case 'gather':
      case 'stack':
        if (!this.#tiles.has(node) && !this.#isInlined(node)) this.#placeElementwise(node)
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
    if (this.#roots.has(node)) return false
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
    const hosts = [...this.#dependencies(node)].map((dependency) => this.#regionOf.get(dependency) as Region)
    for (const host of [...new Set(hosts)].sort((a, b) => this.#order(b) - this.#order(a))) {
      if (!this.#liesAlike(node, host) || !this.#canJoin(node, host)) continue
      if (host.kind === 'contraction' && sameAxes(node.axes, host.space)) return this.#join(node, host)
      if (host.kind === 'rows' && this.#fitsRows(node.axes, host)) return this.#join(node, host)
      if (this.#followsStream(node, host)) return this.#join(node, host)
    }
    // Elementwise work over the same space as its neighbour that shares an operand: one pass over memory for both.
    const previous = this.#regions.at(-1)
    if (previous?.kind === 'rows' && node.axes.length > 0 && sameAxes(previous.space, node.axes)) {
      if (this.#liesAlike(node, previous) && this.#canJoin(node, previous)) return this.#join(node, previous)
    }
    this.#open(node, 'rows', node.axes, this.#layout(node).at(-1))
  }

  /** Whether a node of the region's shape would be stored along the region's walk. */
  #liesAlike(node: Node, region: Region): boolean {
    const layout = this.#layout(node)
    if (!sameAxes(layout, region.space)) return true
    // Where rows are reduced, one loop walks a row and the order of the others does not matter.
    if (region.nodes.some(isReduction)) return layout.at(-1) === region.inner
    return layout.every((axis, place) => axis === region.layout[place])
  }

  /** Whether all that a node takes from a stream are finished sums of its own shape, so that it can be stored for them. */
  #followsStream(node: Node, host: Region): boolean {
    if (host.kind !== 'stream' && host.kind !== 'softmax') return false
    const taken = [...this.#dependencies(node)].filter((dependency) => this.#regionOf.get(dependency) === host)
    return taken.every((dependency) => !isOp(dependency, 'logSumExp') && sameAxes(dependency.axes, node.axes))
  }

  #fitsRows(axes: readonly Axis[], region: Region): boolean {
    if (sameAxes(axes, region.space)) return true
    return region.inner !== undefined && sameAxes(axes, withoutAxes(region.space, [region.inner]))
  }

  #placeReduction(node: ReductionNode): void {
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
    if (this.#tiles.has(node)) return
    const scores = scoresOf(node, this.#tiles)
    if (!scores) return this.#open(node, 'contraction', node.axes)
    const hosts = this.#regions.filter(
      (host) => host.kind === 'stream' && sameAxes(host.space, scores.axes) && this.#canJoin(node, host),
    )
    const host =
      hosts.find(({ nodes }) => this.#streamsAlike(nodes[0] as Consumer, node)) ??
      hosts.find(({ nodes }) => this.#joinsAcross(nodes[0] as Consumer, node, scores))
    if (host) return this.#join(node, host)
    this.#open(node, 'stream', scores.axes)
  }

  #shapeOf(consumer: Consumer): StreamShape | undefined {
    const scores = scoresOf(consumer, this.#tiles)
    return scores && streamShape(consumer, scores, (node) => this.#tiles.has(node))
  }

  /** Whether two consumers walk scores over the same axes in the same way. */
  #streamsAlike(one: Consumer, other: Consumer): boolean {
    const [a, b] = [this.#shapeOf(one), this.#shapeOf(other)]
    return a !== undefined && b !== undefined && a.parallel === b.parallel && sameOrder(walked(a), walked(b))
  }

  /** Whether a gradient is made beside others whose rows are its columns. */
  #joinsAcross(one: Consumer, node: Node<'dot'>, scores: Node): boolean {
    const [host, other] = [this.#shapeOf(one), this.#shapeOf(node)]
    if (!host || !other || !crosses(host, other)) return false
    const { declarations, profile } = this.#surroundings
    const isTile = (tile: Node): boolean => this.#tiles.has(tile)
    const declaration = (name: string): Declaration | undefined => declarations.get(name)
    return paysToCross({ host, node, scores, isTile, declaration }, profile)
  }

  #placeSoftmax(node: Node<'logSumExp'> | Node<'softmaxDot'>): void {
    const scores = node.inputs[0] as Node
    if (!this.#tiles.has(scores)) return this.#open(node, 'softmaxRows', scores.axes)
    for (const host of this.#regions) {
      const first = host.nodes[0] as Consumer
      if (host.kind !== 'softmax' || isOp(first, 'dot') || first.inputs[0] !== scores) continue
      if (first.attrs.block !== node.attrs.block || !this.#streamsAlike(first, node)) continue
      if (this.#canJoin(node, host)) return this.#join(node, host)
    }
    this.#open(node, 'softmax', scores.axes)
  }
}

/** The axes that a stream walks one block after another, outermost first. */
function walked({ outer, streamed }: StreamShape): readonly Axis[] {
  return [...outer, streamed]
}

function sameOrder(a: readonly Axis[], b: readonly Axis[]): boolean {
  return a.length === b.length && a.every((axis, place) => axis === b[place])
}

/** Reads its operands where it is itself, apart from axes they lack. */
export function readsOwnPlace(node: Node): boolean {
  return isOp(node, 'map') || isOp(node, 'broadcast')
}
