// A contraction with what is fused around it: operands worked out while they are packed, elementwise work on the
// register tile before it is stored.

import { withoutAxes } from '../graph/axis.ts'
import type { Node } from '../graph/node.ts'
import type { Expr, Stmt } from '../kernel/ir.ts'
import type { LoweredRegion, Lowering } from './lowering.ts'
import { load, loop, store } from './nest.ts'
import type { Region } from './regions.ts'
import { chainOf, isAlong, isPlainLoad } from './operands.ts'
import { exprScalars, storeBlock } from './scalars.ts'
import { phaseSteps, shardRows } from './shards.ts'
import { Env, KernelScope } from './scope.ts'
import { enter, walkRun, walksOver } from './walks.ts'

export function lowerContraction(lowering: Lowering, region: Region): LoweredRegion {
  const scope = new KernelScope(lowering.storageFor(region))
  const dot = region.nodes[0] as Node<'dot'>
  const outputs = region.nodes.filter((node) => lowering.isStored(node))
  const storage = lowering.storageFor(region)
  const written = outputs.find((node) => storage.target(node) !== undefined)
  const layout = lowering.layout(written ?? (outputs[0] as Node))
  const [x, y] = dot.inputs as [Node, Node]
  const batch = layout.filter((axis) => x.axes.includes(axis) && y.axes.includes(axis))
  const free = withoutAxes(layout, batch)
  const last = free.at(-1)
  const vectorOperand = last && y.axes.includes(last) ? 1 : 0
  const [broadcast, vector] = vectorOperand === 1 ? [x, y] : [y, x]
  const nAxes = free.filter((axis) => vector.axes.includes(axis))
  const mAxes = free.filter((axis) => broadcast.axes.includes(axis))

  const all = [...region.nodes]
  const nWalks = walksOver(scope, 'n', nAxes, lowering.contiguousSuffix(all, nAxes))
  const mWalks = walksOver(scope, 'm', mAxes, lowering.contiguousSuffix(all, mAxes))
  const batchWalks = batch.map((axis) => walkRun(scope, 'g', [axis]))
  const kWalks = walksOver(scope, 'k', dot.attrs.over, lowering.contiguousSuffix(all, dot.attrs.over))

  const outside = [...nWalks, ...mWalks, ...batchWalks].reduce(
    (env, walk) => enter(env, walk, scope),
    new Env(new Map()),
  )
  const env = kWalks.reduce((inner, walk) => enter(inner, walk, scope), outside)
  const accumulator = scope.local(scope.fresh('acc'), 'register', []).name
  const accumulated = load(accumulator, [])
  const operands = [scope.value(x, env), scope.value(y, env)] as [Expr, Expr]
  const chain = kWalks.reduceRight<readonly Stmt[]>(
    (rest, walk) => [loop(walk.name, walk.extent, rest)],
    [store(accumulator, [], exprScalars.fma(operands[0], operands[1], accumulated))],
  )
  scope.inside.set(dot, () => accumulated)
  const stores = outputs.map((node) => scope.store(node, outside, scope.value(node, outside)))
  const body = [
    store(accumulator, [], exprScalars.float(0)),
    ...chain,
    storeBlock(stores, (prefix) => scope.fresh(prefix)),
  ]

  const n = nWalks.at(-1)
  const m = mWalks.at(-1)
  const outer = [...nWalks.slice(0, -1), ...batchWalks]
  const order = [...outer, ...(n ? [n] : []), ...mWalks]
  const nest = order.reduceRight<readonly Stmt[]>(
    (rest, walk) => [loop(walk.name, walk.extent, rest, outer.includes(walk) ? 'grid' : 'serial')],
    body,
  )
  // Where a declared place has an axis of both operands innermost, neighbours in it come from different products.
  if (!n || !m || layout.at(-1) !== last) return lowering.finish(region, scope, nest, [])
  const phased = phaseSteps(lowering, scope, operands, kWalks)
  // Rows of the result stand around its columns only where nothing else stands around both.
  const stored =
    written && phased === undefined && outer.length === 0 && mWalks.length === 1
      ? shardRows(lowering, storage.target(written), m.axes)
      : undefined
  const directives = lowering.tile(
    {
      accumulator,
      n: n.name,
      nBound: n.bound,
      m: m.name,
      mBound: m.bound,
      between: mWalks.slice(0, -1).map((walk) => walk.name),
      ...chainOf(lowering, scope, { inputs: [x, y], operands, vectorOperand, kWalks, m }),
      readable:
        nAxes.every((axis) => axis.extent === undefined) &&
        isAlong(lowering, vector, n) &&
        isPlainLoad(operands[vectorOperand]),
      ...(phased === undefined ? {} : { phaseSteps: phased }),
      ...(stored === undefined ? {} : { shardRows: stored }),
      grid: { others: outer.reduce((product, walk) => product * walk.bound, 1) },
    },
    scope,
  )
  return lowering.finish(region, scope, nest, directives)
}
