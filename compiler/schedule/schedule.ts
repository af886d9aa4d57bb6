// From one function of the graph to kernels in order, with what each argument stands for. Layouts of stored values are
// chosen here; memory is placed by the planner.

import { sameAxes, withoutAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import { isOp, topological, usersOf } from '../graph/node.ts'
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
import { lowerSoftmaxRows } from './softmaxRows.ts'
import { lowerStream } from './stream.ts'
import { orderForWrites, planWrites } from './writes.ts'
import type { WritePlan } from './writes.ts'

export interface ScheduledFunction {
  readonly fn: GraphFunction
  /** In launch order. */
  readonly regions: readonly LoweredRegion[]
  /** Declared value that a node's result is written to in place. */
  readonly targets: ReadonlyMap<Node, string>
  readonly layout: (node: Node) => readonly Axis[]
  /** One kernel with another profile: arguments, layouts and what is fused stay. */
  readonly lowerAgain: (region: Region, profile: ScheduleProfile) => LoweredRegion
  /** Those that set sums to zero before others add to them. */
  readonly zeroing?: ReadonlySet<LoweredRegion>
  /** Of use only where there are stored values with versions. */
  readonly forVersions?: boolean
  /** Half of an update, which is whole unless given; and what the other half has written before, by name. */
  readonly updates?: 'begin' | 'end'
  readonly updated?: ReadonlySet<string>
}

/** `lowered` carries kernels from one function to the next; they share most. */
export function scheduleFunction(
  graph: Graph,
  fn: GraphFunction,
  profile: ScheduleProfile,
  lowered: LoweredKernels = new Map(),
): ScheduledFunction {
  const indirect = new Set<string>()
  for (;;) {
    const plan = planWrites(graph, fn, indirect)
    const { targets } = plan
    const layout = layouts(graph, plan)
    const parts = partition(plan, { layout, declarations: graph.declarations, profile })
    const lowerings = (by: ScheduleProfile, known: LoweredKernels): ((region: Region) => LoweredRegion) => {
      const lowering = new Lowering(by, parts, graph.declarations, layout, targets, known)
      return (region) => lowerRegion[region.kind](lowering, region)
    }
    const regions = parts.regions.map(lowerings(profile, lowered))
    const ordered = orderForWrites(regions, parts, targets)
    if (ordered.conflicts.size === 0) {
      const lowerAgain: ScheduledFunction['lowerAgain'] = (region, other) => lowerings(other, new Map())(region)
      return { fn, regions: ordered.regions, targets, layout, lowerAgain }
    }
    for (const name of ordered.conflicts) indirect.add(name)
  }
}

const lowerRegion: Record<Region['kind'], (lowering: Lowering, region: Region) => LoweredRegion> = {
  rows: lowerRows,
  contraction: lowerContraction,
  columns: lowerColumns,
  scatter: lowerScatter,
  softmax: lowerStream,
  softmaxRows: lowerSoftmaxRows,
  stream: lowerStream,
}

/** Canonical order, but as declared where a value is written to a declared place. */
function layouts(graph: Graph, { roots, targets }: WritePlan): (node: Node) => readonly Axis[] {
  const nodes = topological(roots)
  const chosen = new Map<Node, readonly Axis[]>()
  for (const [node, name] of targets) {
    const declared = graph.declarations.get(name)
    if (declared) chosen.set(node, declared.stored.flat())
  }
  for (const node of nodes) {
    if (!isOp(node, 'read') || chosen.has(node)) continue
    const declared = graph.declarations.get(node.attrs.name)
    if (declared) chosen.set(node, declared.stored.flat())
  }
  // A value on its way into a declared place lies as that place does.
  const users = usersOf(nodes)
  for (const node of nodes.toReversed()) {
    if (chosen.has(node)) continue
    const heirs = (users.get(node) ?? []).filter(
      (user) => user.axes.length === node.axes.length && (isOp(user, 'map') || isOp(user, 'scatterAdd')),
    )
    const heir = heirs.find((user) => chosen.has(user) && node.axes.every((axis) => user.axes.includes(axis)))
    const layout = heir && chosen.get(heir)
    if (layout) chosen.set(node, layout)
  }
  // Neighbours of a product come from one row of it: an axis of both operands does not lie innermost.
  const wanted = new Set(roots)
  const turned = new Map<Node, readonly Axis[]>()
  for (const node of nodes) {
    if (chosen.has(node) || wanted.has(node)) continue
    // What is made of a parameter elementwise lies as the parameter does, so that both are walked in one piece.
    const lies = (input: Node): readonly Axis[] | undefined => {
      const declared = isOp(input, 'read') ? chosen.get(input) : undefined
      return turned.get(input) ?? (declared?.at(-1)?.size === 1 ? undefined : declared)
    }
    const like = isOp(node, 'map') && node.inputs.find((input) => lies(input) && sameAxes(input.axes, node.axes))
    const layout = isOp(node, 'dot') ? commonAxesOutside(node) : like && lies(like)
    if (layout) turned.set(node, layout)
  }
  return (node) => chosen.get(node) ?? turned.get(node) ?? node.axes
}

function commonAxesOutside({ axes, inputs }: Node): readonly Axis[] | undefined {
  const common = axes.filter((axis) => inputs.every((input) => input.axes.includes(axis)))
  const last = axes.at(-1)
  return last && common.includes(last) ? [...common, ...withoutAxes(axes, common)] : undefined
}
