// Kernels that walk rows: elementwise work and reductions along the last axis, several of them in one visit of a row.
// A value that needs k reductions before it is known is worked out in pass k over the row.

import { InternalError } from '../diagnostic.ts'
import { sameAxes, withoutAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import { isOp } from '../graph/node.ts'
import type { Node } from '../graph/node.ts'
import type { Expr, Stmt } from '../kernel/ir.ts'
import { typeOf } from '../kernel/ir.ts'
import { ceilDivide, constantOf, scaleIndex } from '../kernel/index.ts'
import type { Index } from '../kernel/index.ts'
import type { LoweredRegion, Lowering } from './lowering.ts'
import { axisLoops, declareLoop, groupsInBlock, localValue, loop, partials, reductionBlock, store } from './nest.ts'
import { reduce, walkGroups } from './reduction.ts'
import type { Construction } from './reduction.ts'
import { isReduction } from './regions.ts'
import type { ReductionNode, Region } from './regions.ts'
import { storeBlock } from './scalars.ts'
import { Env, KernelScope } from './scope.ts'

export function lowerRows(lowering: Lowering, region: Region): LoweredRegion {
  return new RowLowering(lowering, region).run()
}

class RowLowering {
  readonly #lowering: Lowering
  readonly #region: Region
  readonly #scope: KernelScope
  readonly #members: ReadonlySet<Node>
  readonly #passes = new Map<Node, number>()
  readonly #construction: Construction
  readonly #layout: readonly Axis[]

  constructor(lowering: Lowering, region: Region) {
    this.#lowering = lowering
    this.#region = region
    this.#members = new Set(region.nodes)
    this.#scope = new KernelScope(lowering.storageFor(region))
    this.#construction = { scope: this.#scope, directives: [], lanes: lowering.profile.lanes }
    const full = region.nodes.find((node) => sameAxes(node.axes, region.space) && lowering.isStored(node))
    this.#layout = full
      ? lowering.layout(full)
      : [...withoutAxes(region.space, region.inner ? [region.inner] : []), ...(region.inner ? [region.inner] : [])]
  }

  run(): LoweredRegion {
    const { inner } = this.#region
    const reduces = this.#region.nodes.some(isReduction)
    const last = reduces ? inner : this.#layout.at(-1)
    if (!last) return this.#finish([this.#storesOf(this.#region.nodes, new Env(new Map()))])
    const run = reduces ? [last] : this.#lowering.contiguousSuffix(this.#region.nodes, this.#layout)
    const rows = this.#layout.filter((axis) => !run.includes(axis))
    const loops = rows.map((axis) => ({ axis, ...declareLoop(this.#scope, 'i', this.#scope.extent(axis)) }))
    const env = new Env(new Map(loops.map(({ axis, index }) => [axis, index])))
    const extent =
      run.length === 1 ? this.#scope.extent(last) : { constant: run.reduce((n, axis) => n * axis.size, 1), terms: [] }
    const body = reduces ? this.#rowPasses(env, last, extent) : this.#flat(env, run, extent, rows.length === 0)
    return this.#finish(axisLoops(loops, this.#scope, body, 64))
  }

  #finish(body: readonly Stmt[]): LoweredRegion {
    return this.#lowering.finish(this.#region, this.#scope, body, this.#construction.directives)
  }

  #storesOf(nodes: readonly Node[], env: Env): Stmt {
    const stores = nodes
      .filter((node) => this.#lowering.isStored(node))
      .map((node) => this.#scope.store(node, env, this.#scope.value(node, env)))
    return storeBlock(stores, (prefix) => this.#scope.fresh(prefix))
  }

  /** Elementwise work alone: one loop, cut into pieces for threads when it is all there is. */
  #flat(env: Env, run: readonly Axis[], extent: Index, alone: boolean): Stmt[] {
    const fixed = constantOf(extent)
    const leaf = (place: Index): Stmt =>
      this.#storesOf(this.#region.nodes, env.withGroup(run, place, this.#scope.ranges))
    if (alone && fixed !== undefined && fixed > reductionBlock) {
      const count = ceilDivide(extent, reductionBlock)
      const piece = declareLoop(this.#scope, 'c', count)
      const groups = groupsInBlock(extent, piece.index, reductionBlock)
      const walk = walkGroups(this.#construction, extent, scaleIndex(piece.index, reductionBlock), groups, leaf)
      return [loop(piece.name, count, walk, 'grid')]
    }
    return walkGroups(this.#construction, extent, undefined, ceilDivide(extent, partials), leaf)
  }

  /** In which pass over the row a value can be worked out. */
  #pass(node: Node): number {
    const known = this.#passes.get(node)
    if (known !== undefined) return known
    let pass = 0
    if (this.#members.has(node) || !this.#lowering.isStored(node)) {
      for (const input of node.inputs) pass = Math.max(pass, this.#pass(input))
      if (isReduction(node) && this.#members.has(node)) pass += 1
    }
    this.#passes.set(node, pass)
    return pass
  }

  #rowPasses(env: Env, inner: Axis, extent: Index): Stmt[] {
    const nodes = this.#region.nodes
    const last = Math.max(...nodes.map((node) => this.#pass(node)))
    const perRow = nodes.filter((node) => !node.axes.includes(inner))
    const stmts: Stmt[] = []
    for (let pass = 0; pass <= last; pass++) {
      stmts.push(...this.#rowValues(perRow, pass, env))
      const reductions = nodes.filter(
        (node): node is ReductionNode => isReduction(node) && this.#pass(node) === pass + 1,
      )
      const outputs = nodes.filter(
        (node) => node.axes.includes(inner) && this.#lowering.isStored(node) && this.#pass(node) === pass,
      )
      if (reductions.length > 0 || outputs.length > 0)
        stmts.push(...this.#onePass(env, inner, extent, reductions, outputs))
    }
    return stmts
  }

  /** Values of the whole row that are known once `pass` reductions are done. */
  #rowValues(perRow: readonly Node[], pass: number, env: Env): Stmt[] {
    const stmts: Stmt[] = []
    for (const node of perRow) {
      if (this.#pass(node) !== pass) continue
      if (!isReduction(node)) {
        const name = this.#scope.fresh('s')
        const value = this.#scope.value(node, env)
        stmts.push(
          ...asStatements(
            storeBlock([store('', [], value)], (prefix) => this.#scope.fresh(prefix)),
            name,
          ),
        )
        this.#scope.settle(node, localValue(name, typeOf(value)))
      }
      if (this.#lowering.isStored(node)) stmts.push(this.#scope.store(node, env, localNameOf(this.#scope, node, env)))
    }
    return stmts
  }

  #onePass(
    env: Env,
    inner: Axis,
    extent: Index,
    reductions: readonly ReductionNode[],
    outputs: readonly Node[],
  ): Stmt[] {
    const scope = this.#scope
    const kinds = reductions.map((node) =>
      isOp(node, 'sum')
        ? ({ word: 'add', start: 0 } as const)
        : ({ word: 'max', start: Number.NEGATIVE_INFINITY } as const),
    )
    const { stmts, results } = reduce(this.#construction, extent, inner.size, kinds, (place, take) => {
      const here = env.with([[inner, place]])
      return [
        ...reductions.map((node, index) => take(index, scope.value(node.inputs[0] as Node, here))),
        ...outputs.map((node) => scope.store(node, here, scope.value(node, here))),
      ]
    })
    for (const [index, node] of reductions.entries()) scope.settle(node, results[index] as Expr)
    return stmts
  }
}

function localNameOf(scope: KernelScope, node: Node, env: Env): Expr {
  const inside = scope.inside.get(node)
  if (!inside) throw new InternalError(`a row value of ${node.op} has no name`)
  return inside(env)
}

/** A block that ends in a placeholder store, as lets that end in one of the given name. */
function asStatements(block: Stmt, name: string): Stmt[] {
  const stmts = block.kind === 'if' ? block.body : [block]
  return stmts.map((stmt) => (stmt.kind === 'store' ? { kind: 'let', name, value: stmt.value } : stmt))
}
