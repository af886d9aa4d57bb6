// Rows added to a table at loaded indices, in the canonical order of the index axes; threads share what lies beside the
// indexed axis, so the order of additions to an element never changes.

import { withoutAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import { isOp } from '../graph/node.ts'
import type { Node } from '../graph/node.ts'
import type { Directive } from '../kernel/directives.ts'
import { addIndex, ceilDivide, loadedIndex, scaleIndex } from '../kernel/index.ts'
import type { Stmt } from '../kernel/ir.ts'
import type { LoweredRegion, Lowering } from './lowering.ts'
import { declareLoop, guarded, load, loop, runsAsLanes } from './nest.ts'
import type { Region } from './regions.ts'
import { exprScalars, storeBlock } from './scalars.ts'
import { Env, KernelScope } from './scope.ts'
import { isSharded } from './shards.ts'

/** Columns that one thread takes at a time. */
const columnBlock = 64

export function lowerScatter(lowering: Lowering, region: Region): LoweredRegion {
  const scope = new KernelScope(lowering.storageFor(region))
  const node = region.nodes[0] as Node<'scatterAdd'>
  const [base, index, updates] = node.inputs as [Node, Node, Node]
  const table = node.attrs.axis
  const columns = withoutAxes(lowering.layout(node), [table])
  const along = columns.at(-1)
  const { lanes } = lowering.profile
  const directives: Directive[] = []

  const outer = columns.slice(0, -1).map((axis) => ({ axis, ...declareLoop(scope, 'i', scope.extent(axis)) }))
  const outerEnv = new Env(new Map(outer.map(({ axis, index: at }) => [axis, at])))
  const block = declareLoop(scope, 'c', along ? ceilDivide(scope.extent(along), columnBlock) : 1)
  const name = (prefix: string): string => scope.fresh(prefix)

  /** A statement for each of the thread's columns. */
  const perColumn = (axis: Axis | undefined, env: Env, leaf: (here: Env) => Stmt): Stmt[] => {
    if (!axis) return [leaf(env)]
    const vector = declareLoop(scope, 'v', columnBlock / lanes)
    const lane = declareLoop(scope, 'l', lanes)
    const place = addIndex(scaleIndex(block.index, columnBlock), scaleIndex(vector.index, lanes), lane.index)
    const whole = axis.extent === undefined && axis.size % columnBlock === 0
    const inside = guarded(whole ? [] : [{ left: place, right: scope.extent(axis) }], [leaf(env.with([[axis, place]]))])
    if (runsAsLanes(inside, lane.name)) directives.push({ do: 'bind', loop: lane.name, binding: 'lane' })
    return [loop(vector.name, columnBlock / lanes, [loop(lane.name, lanes, inside)])]
  }

  const counters = withoutAxes(index.axes, columns).map((axis) => ({
    axis,
    ...declareLoop(scope, 'r', scope.extent(axis)),
  }))
  const counted = outerEnv.with(counters.map(({ axis, index: at }) => [axis, at] as const))
  const ids = namedRows(lowering, scope, node)
  const adds = perColumn(along, counted, (here) => {
    const stored = ids
      ? scope.storeNamed(node, ids, here, exprScalars.float(0))
      : scope.store(node, here.with([[table, loadedIndex(scope.value(index, here), table.size)]]), exprScalars.float(0))
    if (stored.kind !== 'store') return stored
    scope.markUpdated(stored.buffer)
    const value = exprScalars.add(load(stored.buffer, stored.indices), scope.value(updates, here))
    return storeBlock([{ ...stored, value }], name)
  })
  const rows = counters.reduceRight<readonly Stmt[]>(
    (rest, { axis, name: counter }) => [loop(counter, scope.extent(axis), rest)],
    adds,
  )
  const body = [...startOf(), ...rows]
  const inner = along ? [loop(block.name, ceilDivide(scope.extent(along), columnBlock), body, 'grid')] : body
  const grid = outer.reduceRight<readonly Stmt[]>(
    (rest, { axis, name: walk }) => [loop(walk, scope.extent(axis), rest, 'grid')],
    inner,
  )
  return lowering.finish(region, scope, grid, directives)

  /** The base's values, unless they lie where the sums go. */
  function startOf(): Stmt[] {
    if (addsInPlace(scope, node)) {
      scope.noteRead(base)
      return []
    }
    const row = declareLoop(scope, 't', scope.extent(table))
    const copy = perColumn(along, outerEnv.with([[table, row.index]]), (here) => {
      return storeBlock([scope.store(node, here, scope.value(base, here))], name)
    })
    return [loop(row.name, scope.extent(table), copy)]
  }
}

/** Whether the sums go where the table lies. */
function addsInPlace({ storage }: KernelScope, node: Node<'scatterAdd'>): boolean {
  const [base] = node.inputs
  const target = storage.target(node)
  if (target === undefined || !base) return false
  return storage.target(base) === target || (isOp(base, 'read') && base.attrs.name === target)
}

/** The ids, an input as it is stored, that name the rows of a sharded table to which a scatter adds; undefined otherwise. */
function namedRows(lowering: Lowering, scope: KernelScope, node: Node<'scatterAdd'>): Node<'read'> | undefined {
  const target = scope.storage.target(node)
  const index = node.inputs[1]
  if (target === undefined || !index || !isOp(index, 'read') || !addsInPlace(scope, node)) return undefined
  const table = lowering.declaration(target)
  const ids = lowering.declaration(index.attrs.name)
  const isRows = table.stored[0]?.length === 1 && table.stored[0][0] === node.attrs.axis
  return isRows && ids.role === 'input' && ids.dtype === 'i32' && isSharded(table, lowering.profile) ? index : undefined
}
