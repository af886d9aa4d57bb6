// Softmax work on scores that lie in memory (or are cheap to work out): one row at a time, in the blocks that the numeric
// contract fixes. Slower than a streamed kernel, but right for operands of any axes.

import { withoutAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import type { Node } from '../graph/node.ts'
import { addIndex, ceilDivide, constantIndex, minIndex, scaleIndex, subtractIndex } from '../kernel/index.ts'
import type { Index } from '../kernel/index.ts'
import type { Stmt } from '../kernel/ir.ts'
import type { LoweredRegion, Lowering } from './lowering.ts'
import { axisLoops, declareLoop, load, loop, partials, store } from './nest.ts'
import { walkGroups } from './reduction.ts'
import type { Construction } from './reduction.ts'
import type { Region } from './regions.ts'
import { logOfSum, startSoftmax, takeBlock, valueOf } from './runningSoftmax.ts'
import type { Element } from './runningSoftmax.ts'
import { exprScalars, storeBlock } from './scalars.ts'
import { Env, KernelScope } from './scope.ts'

export function lowerSoftmaxRows(lowering: Lowering, region: Region): LoweredRegion {
  const scope = new KernelScope(lowering.storageFor(region))
  const construction: Construction = { scope, directives: [], lanes: lowering.profile.lanes }
  const name = (prefix: string): string => scope.fresh(prefix)
  const node = region.nodes[0] as Node<'logSumExp'> | Node<'softmaxDot'>
  const [scores, values] = node.inputs as [Node, Node | undefined]
  const { over, block } = node.attrs
  const layout = lowering.layout(node)
  const rowAxes = layout.filter((axis) => scores.axes.includes(axis))

  const rows = rowAxes.map((axis) => ({ axis, ...declareLoop(scope, 'i', scope.extent(axis)) }))
  const env = new Env(new Map(rows.map(({ axis, index }) => [axis, index])))
  const extent = scope.extent(over)
  const bound = Math.min(block, over.size)
  const blocks = declareLoop(scope, 'b', ceilDivide(extent, block))
  const base = scaleIndex(blocks.index, block)
  const count = minIndex(block, subtractIndex(extent, base))
  const weights = scope.local(name('e'), 'scratch', [bound]).name
  const at = (prefix: string): Element => ({
    buffer: scope.local(name(prefix), 'scratch', [1]).name,
    indices: [constantIndex(0)],
  })
  const running = { largest: at('largest'), total: at('total') }
  const ofBlock = { greatest: at('greatest'), factor: at('factor') }
  const steps = takeBlock(construction, {
    count,
    bound,
    score: (place) => scope.value(scores, env.with([[over, addIndex(base, place)]])),
    weight: (place) => ({ buffer: weights, indices: [place] }),
    ...running,
    ...ofBlock,
  })
  const sums = values ? new Sums(construction, withoutAxes(layout, rowAxes), env) : undefined
  const factor = valueOf(ofBlock.factor)
  const step = [...steps.maximum(), steps.rescale(), ...steps.weigh()]
  if (sums && values) {
    const key = declareLoop(scope, 'k', count)
    const chain = sums.each((here, place) => {
      const value = scope.value(values, here.with([[over, addIndex(base, key.index)]]))
      return store(sums.buffer, place, exprScalars.fma(load(weights, [key.index]), value, load(sums.buffer, place)))
    })
    const scaled = sums.each((_, place) => store(sums.buffer, place, exprScalars.mul(load(sums.buffer, place), factor)))
    step.push(...scaled, loop(key.name, count, chain))
  }
  const result = sums
    ? sums.each((here, place) =>
        scope.store(node, here, exprScalars.div(load(sums.buffer, place), valueOf(running.total))),
      )
    : [storeBlock([scope.store(node, env, logOfSum(running))], name)]
  const body = [
    ...startSoftmax(running),
    ...(sums ? sums.each((_, place) => store(sums.buffer, place, exprScalars.float(0))) : []),
    loop(blocks.name, ceilDivide(extent, block), step),
    ...result,
  ]
  return lowering.finish(region, scope, axisLoops(rows, scope, body, 64), construction.directives)
}

/** The running sums of one row: one for each place along the axes that only the values have. */
class Sums {
  readonly buffer: string
  readonly #construction: Construction
  readonly #axes: readonly Axis[]
  readonly #env: Env

  constructor(construction: Construction, axes: readonly Axis[], env: Env) {
    this.#construction = construction
    this.#axes = axes
    this.#env = env
    const sizes = axes.length === 0 ? [1] : axes.map((axis) => axis.size)
    this.buffer = construction.scope.local(construction.scope.fresh('o'), 'scratch', sizes).name
  }

  /** A statement for each sum, in vectors along the last axis. */
  each(leaf: (env: Env, place: Index[]) => Stmt): Stmt[] {
    const { scope } = this.#construction
    const last = this.#axes.at(-1)
    const block = (env: Env, place: Index[]): Stmt => {
      const stmt = leaf(env, place)
      return storeBlock([stmt], (prefix) => scope.fresh(prefix))
    }
    if (!last) return [block(this.#env, [constantIndex(0)])]
    const outer = this.#axes.slice(0, -1).map((axis) => ({ axis, ...declareLoop(scope, 'n', scope.extent(axis)) }))
    const env = this.#env.with(outer.map(({ axis, index }) => [axis, index] as const))
    const extent = scope.extent(last)
    const walk = walkGroups(this.#construction, extent, undefined, ceilDivide(extent, partials), (place) =>
      block(env.with([[last, place]]), [...outer.map(({ index }) => index), place]),
    )
    return outer.reduceRight<Stmt[]>((rest, { axis, name }) => [loop(name, scope.extent(axis), rest)], walk)
  }
}
