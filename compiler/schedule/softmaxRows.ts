// Softmax work on scores that lie in memory (or are cheap to work out): one row at a time, in the blocks that the numeric
// contract fixes. Slower than a streamed kernel, but right for operands of any axes.

import { withoutAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import * as math from '../graph/math.ts'
import type { Node } from '../graph/node.ts'
import { addIndex, ceilDivide, constantIndex, minIndex, scaleIndex, subtractIndex } from '../kernel/index.ts'
import type { Index } from '../kernel/index.ts'
import type { Expr, Stmt } from '../kernel/ir.ts'
import type { LoweredRegion, Lowering } from './lowering.ts'
import { axisLoops, declareLoop, load, localValue, loop, maskedScore, partials, store } from './nest.ts'
import { reduce, walkGroups } from './reduction.ts'
import type { Construction } from './reduction.ts'
import type { Region } from './regions.ts'
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
  const [largest, total] = [
    scope.local(name('largest'), 'scratch', [1]).name,
    scope.local(name('total'), 'scratch', [1]).name,
  ]
  const [old, sum] = [load(largest, [0]), load(total, [0])]

  const scored = reduce(construction, count, bound, [{ word: 'max', start: maskedScore }], (place, take) => {
    const score = scope.value(scores, env.with([[over, addIndex(base, place)]]))
    return [store(weights, [place], score), take(0, score)]
  })
  const greatest = name('m')
  const factor = name('f')
  const rescale = storeBlock([store('', [], math.exp(exprScalars, exprScalars.sub(old, localValue(greatest))))], name)
  const weighed = reduce(construction, count, bound, [{ word: 'add', start: 0 }], (place, take) => {
    const weight = math.exp(exprScalars, exprScalars.sub(load(weights, [place]), localValue(greatest)))
    return [store(weights, [place], weight), take(0, weight)]
  })
  const sums = values ? new Sums(construction, withoutAxes(layout, rowAxes), env) : undefined
  const step: Stmt[] = [
    ...scored.stmts,
    { kind: 'let', name: greatest, value: exprScalars.max(scored.results[0] as Expr, old) },
    ...named(rescale, factor),
    ...weighed.stmts,
    store(total, [0], exprScalars.fma(sum, localValue(factor), weighed.results[0] as Expr)),
    store(largest, [0], localValue(greatest)),
  ]
  if (sums && values) {
    const key = declareLoop(scope, 'k', count)
    const chain = sums.each((here, at) => {
      const value = scope.value(values, here.with([[over, addIndex(base, key.index)]]))
      return store(sums.buffer, at, exprScalars.fma(load(weights, [key.index]), value, load(sums.buffer, at)))
    })
    const scaled = sums.each((_, at) =>
      store(sums.buffer, at, exprScalars.mul(load(sums.buffer, at), localValue(factor))),
    )
    step.push(...scaled, loop(key.name, count, chain))
  }
  const result = sums
    ? sums.each((here, at) => scope.store(node, here, exprScalars.div(load(sums.buffer, at), sum)))
    : [storeBlock([scope.store(node, env, exprScalars.add(old, math.log(exprScalars, sum)))], name)]
  const body = [
    store(largest, [0], exprScalars.float(maskedScore)),
    store(total, [0], exprScalars.float(0)),
    ...(sums ? sums.each((_, at) => store(sums.buffer, at, exprScalars.float(0))) : []),
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

/** A block that ends in a placeholder store, as lets of which the last has the given name. */
function named(block: Stmt, name: string): Stmt[] {
  const stmts = block.kind === 'if' ? block.body : [block]
  return stmts.map((stmt) => (stmt.kind === 'store' ? { kind: 'let', name, value: stmt.value } : stmt))
}
