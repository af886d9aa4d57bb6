// From one function of the graph to kernels in order, with what each argument stands for. Layouts of stored values are
// chosen here; memory is placed by the planner.

import { InternalError } from '../diagnostic.ts'
import type { Axis } from '../graph/axis.ts'
import { isOp, rootsOf, topological, usersOf } from '../graph/node.ts'
import type { Graph, GraphFunction, Node } from '../graph/node.ts'
import { lowerColumns } from './columns.ts'
import { lowerContraction } from './contraction.ts'
import { Lowering } from './lowering.ts'
import type { LoweredKernels, LoweredRegion } from './lowering.ts'
import type { ScheduleProfile } from './profile.ts'
import { partition } from './regions.ts'
import type { Region } from './regions.ts'
import { lowerRows } from './rows.ts'
import { lowerScatter } from './scatter.ts'
import { lowerStream } from './stream.ts'

export interface ScheduledFunction {
  readonly fn: GraphFunction
  /** In launch order. */
  readonly regions: readonly LoweredRegion[]
  /** Declared value that a node's result is written to in place. */
  readonly targets: ReadonlyMap<Node, string>
  readonly layout: (node: Node) => readonly Axis[]
}

/** `lowered` carries kernels from one function to the next; they share most. */
export function scheduleFunction(
  graph: Graph,
  fn: GraphFunction,
  profile: ScheduleProfile,
  lowered: LoweredKernels = new Map(),
): ScheduledFunction {
  const targets = writeTargets(fn)
  const layout = layouts(graph, fn, targets)
  const parts = partition(fn, layout)
  const lowering = new Lowering(profile, parts, graph.declarations, layout, targets, lowered)
  const regions = parts.regions.map((region) => lowerings[region.kind](lowering, region))
  return { fn, regions: orderForWrites(regions, targets), targets, layout }
}

const lowerings: Record<Region['kind'], (lowering: Lowering, region: Region) => LoweredRegion> = {
  rows: lowerRows,
  contraction: lowerContraction,
  columns: lowerColumns,
  scatter: lowerScatter,
  softmax: lowerStream,
  stream: lowerStream,
}

/** Written values go straight to their declared place, and so does the table that a scatter starts from. */
function writeTargets(fn: GraphFunction): Map<Node, string> {
  const targets = new Map<Node, string>()
  for (const { name, node } of fn.writes) {
    if (targets.has(node)) throw new InternalError(`one value is written to '${targets.get(node)}' and to '${name}'`)
    targets.set(node, name)
  }
  for (const node of topological(rootsOf(fn)).toReversed()) {
    if (!isOp(node, 'scatterAdd')) continue
    const target = targets.get(node)
    const base = node.inputs[0]
    if (base && target !== undefined && !isOp(base, 'read')) targets.set(base, target)
  }
  return targets
}

/** Canonical order, but as declared where a value is written to a declared place. */
function layouts(graph: Graph, fn: GraphFunction, targets: ReadonlyMap<Node, string>): (node: Node) => readonly Axis[] {
  const nodes = topological(rootsOf(fn))
  const chosen = new Map<Node, readonly Axis[]>()
  for (const [node, name] of targets) {
    const declared = graph.declarations.get(name)
    if (declared) chosen.set(node, declared.stored.flat())
  }
  for (const node of nodes) {
    if (!isOp(node, 'read')) continue
    const declared = graph.declarations.get(node.attrs.name)
    if (declared) chosen.set(node, declared.stored.flat())
  }
  // A value on its way into a declared place lies as that place does.
  const users = usersOf(nodes)
  for (const node of nodes.toReversed()) {
    if (chosen.has(node)) continue
    const heirs = (users.get(node) ?? []).filter((user) => user.axes.length === node.axes.length && (isOp(user, 'map') || isOp(user, 'scatterAdd')))
    const heir = heirs.find((user) => chosen.has(user) && node.axes.every((axis) => user.axes.includes(axis)))
    const layout = heir && chosen.get(heir)
    if (layout) chosen.set(node, layout)
  }
  return (node) => chosen.get(node) ?? node.axes
}

/** Moves a kernel that overwrites a declared value behind all kernels that read the old one. */
function orderForWrites(regions: readonly LoweredRegion[], targets: ReadonlyMap<Node, string>): LoweredRegion[] {
  const before = new Map<LoweredRegion, Set<LoweredRegion>>(regions.map((region) => [region, new Set()]))
  const producer = new Map<Node, LoweredRegion>()
  for (const region of regions) for (const node of region.region.nodes) producer.set(node, region)
  const writers = new Map<string, LoweredRegion[]>()
  for (const [node, name] of targets) {
    const region = producer.get(node)
    if (region) writers.set(name, [...(writers.get(name) ?? []), region])
  }
  for (const [place, region] of regions.entries()) {
    for (const reference of region.references) {
      if (reference.kind === 'node') {
        const source = producer.get(reference.node)
        if (source && source !== region) before.get(region)?.add(source)
      }
      if (reference.kind !== 'declared') continue
      for (const writer of writers.get(reference.name) ?? []) {
        if (writer === region) continue
        const readsNew = writers.get(reference.name)?.includes(region)
        if (readsNew) {
          if (regions.indexOf(writer) < place) before.get(region)?.add(writer)
        } else if (!readsStoredTarget(region, reference.name, targets)) before.get(writer)?.add(region)
        else before.get(region)?.add(writer)
      }
    }
  }
  const ordered: LoweredRegion[] = []
  const waiting = new Set(regions)
  while (waiting.size > 0) {
    const next = [...waiting].find((region) => [...(before.get(region) ?? [])].every((other) => !waiting.has(other)))
    if (!next) throw new InternalError('kernels read values that other kernels overwrite first')
    waiting.delete(next)
    ordered.push(next)
  }
  return ordered
}

/** Whether a kernel reads what another has just written to a declared place, rather than the value from before. */
function readsStoredTarget(region: LoweredRegion, name: string, targets: ReadonlyMap<Node, string>): boolean {
  const seen = new Set<Node>()
  const visit = (node: Node): boolean => {
    if (seen.has(node)) return false
    seen.add(node)
    return node.inputs.some((input) => targets.get(input) === name || (!targets.has(input) && visit(input)))
  }
  return region.region.nodes.some(visit)
}
