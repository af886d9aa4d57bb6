// Which results of elementwise work are worth their memory. What another kernel can work out again from fewer values, in a
// few operations, is not stored for it: reading and writing memory takes longer than the operations do.

import { elementCount } from '../graph/axis.ts'
import { elementwiseOp } from '../graph/elementwise.ts'
import { isOp } from '../graph/node.ts'
import type { Node } from '../graph/node.ts'
import type { Region } from './regions.ts'

/** Floating-point operations per element that a kernel may repeat, all of its values together. */
const most = 16
/** Of one value: a division or an exponential is kept. */
const mostOfOne = 4

export interface Stores {
  readonly stored: ReadonlySet<Node>
  readonly roots: ReadonlySet<Node>
  readonly regionOf: ReadonlyMap<Node, Region>
  readonly usersOf: (node: Node) => readonly Node[]
  /** Placed nodes that a node reads, through nodes that no kernel stores. */
  readonly dependencies: (node: Node) => ReadonlySet<Node>
}

/** The stored nodes without those that their users can do without. */
export function fewerStores({ stored, roots, regionOf, usersOf, dependencies }: Stores): Set<Node> {
  /** By region of users: what it reads of elementwise results of others. */
  const wanted = new Map<Region, Set<Node>>()
  const fixed = new Set<Node>()
  for (const node of stored) {
    const own = regionOf.get(node)
    const users = placedUsers(node, usersOf, regionOf)
    const regions = new Set(users?.flatMap((user) => regionOf.get(user) ?? []).filter((region) => region !== own))
    const isPlain = own?.kind === 'rows' && isOp(node, 'map') && !roots.has(node) && users !== undefined
    if (!isPlain || regions.size === 0) {
      fixed.add(node)
      continue
    }
    for (const region of regions) wanted.set(region, (wanted.get(region) ?? new Set()).add(node))
  }
  const result = new Set(fixed)
  for (const nodes of wanted.values()) for (const node of frontier(nodes, regionOf, dependencies)) result.add(node)
  return result
}

/**
 * Members of regions that read a node, directly or through what is worked out where it is used. Undefined where a contraction
 * or a reduction reads it, or something at another place than its own: it has to be in memory then.
 */
function placedUsers(
  node: Node,
  usersOf: (node: Node) => readonly Node[],
  regionOf: ReadonlyMap<Node, Region>,
): Node[] | undefined {
  const found: Node[] = []
  for (const user of usersOf(node)) {
    if (!isOp(user, 'map')) return undefined
    const further = regionOf.has(user) ? [user] : placedUsers(user, usersOf, regionOf)
    if (!further) return undefined
    found.push(...further)
  }
  return found
}

/** Fewest values, as far as replacing one by its operands goes, from which the wanted ones follow. */
function frontier(
  wanted: ReadonlySet<Node>,
  regionOf: ReadonlyMap<Node, Region>,
  dependencies: (node: Node) => ReadonlySet<Node>,
): Set<Node> {
  const space = Math.max(...[...wanted].map((node) => elementCount(node.axes)))
  let kept = new Set(wanted)
  let spent = 0
  // The latest first: what it needs may be wanted anyway.
  const queue = [...wanted].sort((a, b) => b.id - a.id)
  for (let node = queue.shift(); node; node = queue.shift()) {
    const region = regionOf.get(node)
    const flops = repeated(node, regionOf)
    if (!isOp(node, 'map') || region?.kind !== 'rows' || spent + flops > most || flops > mostOfOne) continue
    const operands = [...dependencies(node)]
    const next = new Set(kept)
    next.delete(node)
    for (const operand of operands) next.add(operand)
    const size = (nodes: ReadonlySet<Node>): number =>
      [...nodes].reduce((sum, one) => sum + elementCount(one.axes) / space, 0)
    if (size(next) > size(kept)) continue
    kept = next
    spent += flops
    for (const operand of operands) if (!queue.includes(operand)) queue.push(operand)
    queue.sort((a, b) => b.id - a.id)
  }
  return kept
}

/** Operations of a node and of what is worked out for it alone. */
function repeated(node: Node, regionOf: ReadonlyMap<Node, Region>): number {
  if (!isOp(node, 'map')) return 0
  const own = elementwiseOp(node.attrs.fn)?.flops ?? most
  const inner = node.inputs.filter((input) => !regionOf.has(input)).map((input) => repeated(input, regionOf))
  return own + inner.reduce((sum, flops) => sum + flops, 0)
}
