// A contraction with what is fused around it: operands worked out while they are packed, elementwise work on the
// register tile before it is stored.

import { dtypeBytes, withoutAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import type { Node } from '../graph/node.ts'
import { bufferElements } from '../kernel/ir.ts'
import type { Expr, Stmt } from '../kernel/ir.ts'
import type { Index } from '../kernel/index.ts'
import { neighboursOf } from './byLane.ts'
import type { LoweredRegion, Lowering } from './lowering.ts'
import { declareLoop, load, loop, store } from './nest.ts'
import type { Region } from './regions.ts'
import { exprScalars, storeBlock } from './scalars.ts'
import { Env, KernelScope } from './scope.ts'
import type { TileMemory } from './tileNest.ts'

interface Walk {
  readonly axes: readonly Axis[]
  readonly name: string
  readonly index: Index
  readonly extent: Index
  readonly bound: number
}

function boundOf(axes: readonly Axis[]): number {
  return axes.reduce((product, axis) => product * axis.size, 1)
}

/** A loop over one axis or over a run of them. */
export function walkRun(scope: KernelScope, prefix: string, axes: readonly Axis[]): Walk {
  const bound = boundOf(axes)
  const extent = axes.length === 1 && axes[0] ? scope.extent(axes[0]) : { constant: bound, terms: [] }
  const { name, index } = declareLoop(scope, prefix, extent)
  return { axes, name, index, extent, bound }
}

export function enter(env: Env, walk: Walk, scope: KernelScope): Env {
  return env.withGroup(walk.axes, walk.index, scope.ranges)
}

/** Outer loops one axis each, then a run that one index walks. */
export function walksOver(scope: KernelScope, prefix: string, axes: readonly Axis[], run: readonly Axis[]): Walk[] {
  const outer = withoutAxes(axes, run).map((axis) => walkRun(scope, prefix, [axis]))
  return run.length === 0 ? outer : [...outer, walkRun(scope, prefix, run)]
}

export function lowerContraction(lowering: Lowering, region: Region): LoweredRegion {
  const scope = new KernelScope(lowering.storageFor(region))
  const dot = region.nodes[0] as Node<'dot'>
  const outputs = region.nodes.filter((node) => lowering.isStored(node))
  const layout = lowering.layout(
    outputs.find((node) => lowering.storageFor(region).target(node) !== undefined) ?? (outputs[0] as Node),
  )
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
  const broadcastOperand = operands[vectorOperand === 1 ? 0 : 1]
  const packBroadcast = packing(broadcastOperand, scope, isAlong(lowering, broadcast, kWalks.at(-1)))
  const over = kWalks.some((walk) => walk.axes.some((axis) => axis.extent !== undefined))
  const fixed = !over && nAxes.every((axis) => axis.extent === undefined)
  const memory = fixed ? memoryOf(operands[vectorOperand], scope) : undefined
  const lies = !over && isAlong(lowering, broadcast, kWalks.at(-1))
  const broadcastMemory = lies ? memoryOf(broadcastOperand, scope) : undefined
  const directives = lowering.tile(
    {
      accumulator,
      n: n.name,
      nBound: n.bound,
      vectorOperand,
      m: m.name,
      mBound: m.bound,
      k: kWalks.map((walk) => walk.name),
      kBounds: kWalks.map((walk) => walk.bound),
      kBound: boundOf(dot.attrs.over),
      between: mWalks.slice(0, -1).map((walk) => walk.name),
      transposes: isAlong(lowering, vector, kWalks.at(-1)),
      readable:
        nAxes.every((axis) => axis.extent === undefined) &&
        isAlong(lowering, vector, n) &&
        isPlainLoad(operands[vectorOperand]),
      packBroadcast,
      neighbours: packBroadcast === 'no' ? neighboursOf(broadcastOperand, scope, kWalks.at(-1), m) : 'k',
      ...(memory ? { memory } : {}),
      ...(broadcastMemory ? { broadcastMemory } : {}),
      grid: { others: outer.reduce((product, walk) => product * walk.bound, 1) },
    },
    scope,
  )
  return lowering.finish(region, scope, nest, directives)
}

/** Where an operand lies, if it is read as it lies. */
export function memoryOf(operand: Expr, scope: KernelScope): TileMemory | undefined {
  if (!isPlainLoad(operand)) return undefined
  const buffer = scope.kernel('', []).arguments.find(({ name }) => name === operand.buffer)
  if (!buffer) return undefined
  const bytes = dtypeBytes[buffer.dtype]
  return { buffer: buffer.name, indices: operand.indices, bytes, total: bufferElements(buffer) * bytes }
}

/** Whether an operand lies contiguous along the walk. */
export function isAlong(lowering: Lowering, operand: Node, walk: Walk | undefined): boolean {
  const fast = lowering.fastAxis(operand)
  return walk !== undefined && fast !== undefined && walk.axes.at(-1) === fast
}

/** A plain f32 load that steps evenly is read where it lies; anything else is worked out once per tile. */
export function packing(operand: Expr, scope: KernelScope, contiguous: boolean): 'no' | 'yes' | 'contiguous' {
  const plain =
    isPlainLoad(operand) &&
    scope.kernel('', []).arguments.find((buffer) => buffer.name === operand.buffer)?.dtype === 'f32'
  if (plain) return 'no'
  return contiguous ? 'contiguous' : 'yes'
}

/** A load that steps evenly. */
function isPlainLoad(operand: Expr): operand is Extract<Expr, { kind: 'load' }> {
  const isEven = ({ terms }: Index): boolean =>
    terms.every(({ atom }) => atom.kind === 'variable' || atom.kind === 'size')
  return operand.kind === 'load' && operand.indices.every(isEven)
}
