// Rows added to a table at loaded indices, in the canonical order of the index axes; threads share the columns, so the
// order of additions to an element never changes. The table is updated in place.

import { withoutAxes } from '../graph/axis.ts'
import type { Node } from '../graph/node.ts'
import { addIndex, ceilDivide, loadedIndex, scaleIndex } from '../kernel/index.ts'
import type { Stmt } from '../kernel/ir.ts'
import type { LoweredRegion, Lowering } from './lowering.ts'
import { declareLoop, guarded, loop } from './nest.ts'
import type { Region } from './regions.ts'
import { exprScalars, storeBlock } from './scalars.ts'
import { Env, KernelScope } from './scope.ts'

/** Columns that one thread takes at a time. */
const columnBlock = 64

export function lowerScatter(lowering: Lowering, region: Region): LoweredRegion {
  const storage = lowering.storageFor(region)
  const scope = new KernelScope(storage)
  const node = region.nodes[0] as Node<'scatterAdd'>
  const [, index, updates] = node.inputs as [Node, Node, Node]
  const layout = lowering.layout(node)
  const columns = withoutAxes(layout, [node.attrs.axis])
  const along = columns.at(-1)
  const { lanes } = lowering.profile

  const outer = columns.slice(0, -1).map((axis) => ({ axis, ...declareLoop(scope, 'i', scope.extent(axis)) }))
  const counters = index.axes.map((axis) => ({ axis, ...declareLoop(scope, 'r', scope.extent(axis)) }))
  let env = new Env(new Map([...outer, ...counters].map(({ axis, index: at }) => [axis, at])))
  const leaf = (here: Env): Stmt => {
    const row = loadedIndex(scope.value(index, here), node.attrs.axis.size)
    const target = here.with([[node.attrs.axis, row]])
    const first = scope.store(node, target, exprScalars.float(0))
    if (first.kind !== 'store') return first
    const old = { kind: 'load', buffer: first.buffer, indices: first.indices, type: 'f32', lanes: 1 } as const
    scope.markUpdated(first.buffer)
    return storeBlock([{ ...first, value: exprScalars.add(old, scope.value(updates, here)) }], (prefix) => scope.fresh(prefix))
  }
  if (!along) {
    const body = counters.reduceRight<readonly Stmt[]>((rest, { axis, name }) => [loop(name, scope.extent(axis), rest)], [leaf(env)])
    return lowering.finish(region, scope, body, [])
  }
  const blocks = ceilDivide(scope.extent(along), columnBlock)
  const block = declareLoop(scope, 'c', blocks)
  const vector = declareLoop(scope, 'v', columnBlock / lanes)
  const lane = declareLoop(scope, 'l', lanes)
  const place = addIndex(scaleIndex(block.index, columnBlock), scaleIndex(vector.index, lanes), lane.index)
  env = env.with([[along, place]])
  const whole = along.extent === undefined && along.size % columnBlock === 0
  const inside = guarded(whole ? [] : [{ left: place, right: scope.extent(along) }], [leaf(env)])
  const vectors = loop(vector.name, columnBlock / lanes, [loop(lane.name, lanes, inside)])
  const rows = counters.reduceRight<readonly Stmt[]>((rest, { axis, name }) => [loop(name, scope.extent(axis), rest)], [vectors])
  const grid = outer.reduceRight<readonly Stmt[]>(
    (rest, { axis, name }) => [loop(name, scope.extent(axis), rest, 'grid')],
    [loop(block.name, blocks, rows, 'grid')],
  )
  return lowering.finish(region, scope, grid, [{ do: 'bind', loop: lane.name, binding: 'lane' }])
}
