// Reductions along an axis that is not the last in memory: vectors run along the last one, and each keeps 16 partial
// results, so the order of additions is the one of every reduction.

import { withoutAxes } from '../graph/axis.ts'
import type { Node } from '../graph/node.ts'
import type { Directive } from '../kernel/directives.ts'
import type { Stmt } from '../kernel/ir.ts'
import { addIndex, ceilDivide, scaleIndex } from '../kernel/index.ts'
import type { Index } from '../kernel/index.ts'
import type { LoweredRegion, Lowering } from './lowering.ts'
import { axisLoops, declareLoop, groupsInBlock, guarded, load, loop, partials, reductionBlock, runsAsLanes, store } from './nest.ts' // prettier-ignore
import type { Region } from './regions.ts'
import { exprScalars, storeBlock } from './scalars.ts'
import { Env, KernelScope } from './scope.ts'

export function lowerColumns(lowering: Lowering, region: Region): LoweredRegion {
  const scope = new KernelScope(lowering.storageFor(region))
  const node = region.nodes[0] as Node<'sum'> | Node<'maximum'>
  const word = node.op === 'sum' ? 'add' : 'max'
  const neutral = exprScalars.float(word === 'add' ? 0 : Number.NEGATIVE_INFINITY)
  const combine = (old: ReturnType<typeof load>, value: ReturnType<typeof load>) =>
    word === 'add' ? exprScalars.add(old, value) : exprScalars.max(value, old)
  const { over } = node.attrs
  const layout = lowering.layout(node)
  const along = layout.at(-1)
  const { lanes } = lowering.profile
  const extent = scope.extent(over)
  const directives: Directive[] = []

  const rows = (along ? withoutAxes(layout, [along]) : []).map((axis) => ({
    axis,
    ...declareLoop(scope, 'i', scope.extent(axis)),
  }))
  const rowEnv = new Env(new Map(rows.map(({ axis, index }) => [axis, index])))
  const width = along ? lanes : 1
  const count = along ? ceilDivide(scope.extent(along), width) : { constant: 1, terms: [] }
  const column = declareLoop(scope, 'c', count)
  const part = scope.local(scope.fresh('part'), 'register', [partials, width]).name
  const total = scope.local(scope.fresh('total'), 'register', [partials, width]).name

  /** A statement for each lane of the column's vector. */
  const perLane = (guardColumns: boolean, leaf: (lane: Index, env: Env) => Stmt): Stmt => {
    const lane = declareLoop(scope, 'l', width)
    const place = addIndex(scaleIndex(column.index, width), lane.index)
    const env = along ? rowEnv.with([[along, place]]) : rowEnv
    const body = leaf(lane.index, env)
    const fixed = along && along.extent === undefined && along.size % width === 0
    const conditions = guardColumns && along && !fixed ? [{ left: place, right: scope.extent(along) }] : []
    const inside = guarded(conditions, [body])
    directives.push({ do: 'bind', loop: lane.name, binding: runsAsLanes(inside, lane.name) ? 'lane' : 'unroll' })
    return loop(lane.name, width, inside)
  }
  const perSlot = (body: (slot: Index) => Stmt[]): Stmt => {
    const slot = declareLoop(scope, 'j', partials)
    directives.push({ do: 'bind', loop: slot.name, binding: 'unroll' })
    return loop(slot.name, partials, body(slot.index))
  }
  const clear = (buffer: string): Stmt =>
    perSlot((slot) => [perLane(false, (lane) => store(buffer, [slot, lane], neutral))])
  const tree = (buffer: string): Stmt[] => {
    const stmts: Stmt[] = []
    for (let distance = partials / 2; distance >= 1; distance /= 2) {
      for (let slot = 0; slot < distance; slot++) {
        stmts.push(
          perLane(false, (lane) => {
            const [low, high] = [load(buffer, [slot, lane]), load(buffer, [slot + distance, lane])]
            return store(buffer, [slot, lane], word === 'add' ? exprScalars.add(low, high) : exprScalars.max(low, high))
          }),
        )
      }
    }
    return stmts
  }

  const blocks = ceilDivide(extent, reductionBlock)
  const outer = declareLoop(scope, 'b', ceilDivide(blocks, partials))
  const groups = (block: Index): Stmt[] => {
    const inBlock = groupsInBlock(extent, block, reductionBlock)
    const group = declareLoop(scope, 'o', inBlock)
    const step = perSlot((slot) => {
      const place = addIndex(scaleIndex(block, reductionBlock), scaleIndex(group.index, partials), slot)
      const add = perLane(true, (lane, env) => {
        const value = scope.value(node.inputs[0] as Node, env.with([[over, place]]))
        return storeBlock([store(part, [slot, lane], combine(load(part, [slot, lane]), value))], (prefix) =>
          scope.fresh(prefix),
        )
      })
      return guarded([{ left: place, right: extent }], [add])
    })
    return [clear(part), loop(group.name, inBlock, [step]), ...tree(part)]
  }
  const single = over.size <= reductionBlock
  const body = single
    ? groups({ constant: 0, terms: [] })
    : [
        clear(total),
        loop(outer.name, ceilDivide(blocks, partials), [
          perSlot((slot) => {
            const block = addIndex(scaleIndex(outer.index, partials), slot)
            const add = perLane(false, (lane) =>
              store(total, [slot, lane], combine(load(total, [slot, lane]), load(part, [0, lane]))),
            )
            return guarded([{ left: block, right: blocks }], [...groups(block), add])
          }),
        ]),
        ...tree(total),
      ]
  const result = single ? part : total
  const finish = perLane(true, (lane, env) => {
    scope.inside.set(node, () => load(result, [0, lane]))
    return scope.store(node, env, scope.value(node, env))
  })
  const inner = loop(column.name, count, [...body, finish], 'grid')
  return lowering.finish(region, scope, axisLoopsAround(rows, scope, inner), directives)
}

function axisLoopsAround(rows: Parameters<typeof axisLoops>[0], scope: KernelScope, inner: Stmt): Stmt[] {
  return axisLoops(rows, scope, [inner], Number.POSITIVE_INFINITY)
}
