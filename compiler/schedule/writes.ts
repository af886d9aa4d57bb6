// How declared values are overwritten. A result goes straight to its declared place where every kernel that needs the old
// value runs before, or reads it exactly where it writes; any other one is copied there at the end. Knows no loops.

import { InternalError } from '../diagnostic.ts'
import { sameAxes } from '../graph/axis.ts'
import { isOp, rootsOf, topological, usersOf } from '../graph/node.ts'
import type { Graph, GraphFunction, Node } from '../graph/node.ts'
import type { LoweredRegion } from './lowering.ts'
import { isReduction, readsOwnPlace } from './regions.ts'
import type { Partition, Wanted } from './regions.ts'

export interface WritePlan extends Wanted {
  /** Declared value that a node's result is stored to. */
  readonly targets: ReadonlyMap<Node, string>
}

/** `indirect` are declared values that must not be written before everything else is done. */
export function planWrites(graph: Graph, fn: GraphFunction, indirect: ReadonlySet<string>): WritePlan {
  const roots = rootsOf(fn)
  const nodes = topological(roots)
  const users = usersOf(nodes)
  const targets = new Map<Node, string>()
  const copies = new Map<Node, string>()
  let next = (nodes.at(-1)?.id ?? 0) + 1
  for (const { name, node } of fn.writes) {
    const dtype = graph.declarations.get(name)?.dtype
    const needed = (users.get(node)?.length ?? 0) + roots.filter((root) => root === node).length
    // In fewer bits it is another value than the one that others read.
    const narrows = (dtype === 'f16' || dtype === 'bf16') && (needed > 1 || isOp(node, 'scatterAdd'))
    if (indirect.has(name) || targets.has(node) || narrows) copies.set(copyOf(node, next++), name)
    else targets.set(node, name)
  }
  for (const node of nodes.toReversed()) {
    const target = targets.get(node)
    const base = node.inputs[0]
    if (target === undefined || !isOp(node, 'scatterAdd') || !base || roots.includes(base)) continue
    // The table that a scatter starts from is computed where the scatter adds to it, if nothing else wants it.
    const alone = (users.get(base)?.length ?? 0) === 1
    if (alone && isComputed(base) && graph.declarations.get(target)?.dtype === 'f32') targets.set(base, target)
  }
  const all = new Set([...roots, ...targets.keys(), ...copies.keys()])
  return { roots: [...all], copies: new Set(copies.keys()), targets: new Map([...targets, ...copies]) }
}

/** A node that only says where another one's value goes. */
function copyOf(node: Node, id: number): Node {
  return {
    id,
    op: 'barrier',
    inputs: [node],
    attrs: { tag: 'copy' },
    axes: node.axes,
    dtype: node.dtype,
    layer: node.layer,
  }
}

function isComputed(node: Node): boolean {
  return (
    isOp(node, 'map') || isOp(node, 'dot') || isReduction(node) || isOp(node, 'softmaxDot') || isOp(node, 'scatterAdd')
  )
}

export interface Ordered {
  readonly regions: readonly LoweredRegion[]
  /** Declared values that cannot be written in place: with them copied at the end, all kernels find an order. */
  readonly conflicts: ReadonlySet<string>
}

/** Puts kernels that overwrite a declared value behind all that read the old one. */
export function orderForWrites(
  regions: readonly LoweredRegion[],
  parts: Partition,
  targets: ReadonlyMap<Node, string>,
): Ordered {
  const conflicts = new Set(regions.flatMap((region) => overwrittenWhileRead(region, parts, targets)))
  const producer = new Map<Node, LoweredRegion>()
  for (const region of regions) for (const node of region.region.nodes) producer.set(node, region)
  const readers = new Map<string, LoweredRegion[]>()
  for (const region of regions) {
    for (const name of region.reads.declared) readers.set(name, [...(readers.get(name) ?? []), region])
  }
  const before = new Map<LoweredRegion, Set<LoweredRegion>>(regions.map((region) => [region, new Set()]))
  for (const region of regions) {
    for (const node of region.reads.nodes) before.get(region)?.add(producerOf(node, producer))
    for (const name of targetsOf(region, targets)) {
      for (const reader of readers.get(name) ?? []) if (reader !== region) before.get(region)?.add(reader)
    }
  }
  const ordered: LoweredRegion[] = []
  const waiting = new Set(regions)
  while (waiting.size > 0) {
    const next = [...waiting].find((region) => [...(before.get(region) ?? [])].every((other) => !waiting.has(other)))
    if (!next) break
    waiting.delete(next)
    ordered.push(next)
  }
  for (const region of waiting) {
    for (const name of targetsOf(region, targets))
      if (readers.get(name)?.some((reader) => waiting.has(reader))) conflicts.add(name)
  }
  if (waiting.size > 0 && conflicts.size === 0) throw new InternalError('kernels read one another in a circle')
  return { regions: ordered, conflicts }
}

function producerOf(node: Node, producer: ReadonlyMap<Node, LoweredRegion>): LoweredRegion {
  const found = producer.get(node)
  if (!found) throw new InternalError(`no kernel computes a ${node.op} that another one reads`)
  return found
}

function targetsOf(region: LoweredRegion, targets: ReadonlyMap<Node, string>): Set<string> {
  return new Set(region.region.nodes.flatMap((node) => targets.get(node) ?? []))
}

/** Declared values of which a kernel reads an element that it may have overwritten already. */
function overwrittenWhileRead(
  { region, reads }: LoweredRegion,
  parts: Partition,
  targets: ReadonlyMap<Node, string>,
): string[] {
  const passes = region.nodes.some(isReduction)
  const isLoaded = (node: Node): boolean => parts.stored.has(node) && parts.regionOf.get(node) !== region
  return region.nodes.flatMap((written) => {
    const name = targets.get(written)
    if (name === undefined || !reads.declared.has(name)) return []
    const safe = region.nodes.every((member) => {
      const way = readsDeclared(member, name, isLoaded)
      if (way === 'never' || (member === written && way === 'own place')) return true
      return way === 'own place' && !passes && sameAxes(member.axes, written.axes)
    })
    return safe ? [] : [name]
  })
}

/** How a kernel that works a node out reads a declared value. */
function readsDeclared(
  node: Node,
  name: string,
  isLoaded: (node: Node) => boolean,
): 'never' | 'own place' | 'elsewhere' {
  let found: 'never' | 'own place' = 'never'
  const seen = { own: new Set<Node>(), viewed: new Set<Node>() }
  const visit = (at: Node, viewed: boolean): boolean => {
    if (isLoaded(at)) return false
    if (isOp(at, 'read') && at.attrs.name === name) {
      found = 'own place'
      return viewed
    }
    const known = viewed ? seen.viewed : seen.own
    if (known.has(at)) return false
    known.add(at)
    return at.inputs.some((input, place) => {
      const own = readsOwnPlace(at) || isOp(at, 'barrier') || (isOp(at, 'scatterAdd') && place === 0)
      return visit(input, viewed || !own)
    })
  }
  return visit(node, false) ? 'elsewhere' : found
}
