// Kernels that walk rows: elementwise work and reductions along the last axis, several of them in one visit of a row.
// A value that needs k reductions before it is known is worked out in pass k over the row.

import { InternalError } from '../diagnostic.ts'
import { sameAxes, withoutAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import { isOp } from '../graph/node.ts'
import type { Node } from '../graph/node.ts'
import type { Directive } from '../kernel/directives.ts'
import type { Condition, Expr, Stmt } from '../kernel/ir.ts'
import { addIndex, ceilDivide, constantOf, scaleIndex } from '../kernel/index.ts'
import type { Index } from '../kernel/index.ts'
import type { LoweredRegion, Lowering } from './lowering.ts'
import {
  axisLoops, declareLoop, groupsInBlock, guarded, load, localValue, loop, partials, reductionBlock, scratchTree, store,
} from './nest.ts' // prettier-ignore
import type { Region } from './regions.ts'
import { exprScalars, storeBlock } from './scalars.ts'
import { Env, KernelScope } from './scope.ts'

type Reduction = Node<'sum'> | Node<'maximum'>

function isReduction(node: Node): node is Reduction {
  return node.op === 'sum' || node.op === 'maximum'
}

export function lowerRows(lowering: Lowering, region: Region): LoweredRegion {
  return new RowLowering(lowering, region).run()
}

class RowLowering {
  readonly #lowering: Lowering
  readonly #region: Region
  readonly #scope: KernelScope
  readonly #members: ReadonlySet<Node>
  readonly #passes = new Map<Node, number>()
  readonly #directives: Directive[] = []
  readonly #layout: readonly Axis[]

  constructor(lowering: Lowering, region: Region) {
    this.#lowering = lowering
    this.#region = region
    this.#members = new Set(region.nodes)
    this.#scope = new KernelScope(lowering.storageFor(region))
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
    const extent = run.length === 1 ? this.#scope.extent(last) : { constant: run.reduce((n, axis) => n * axis.size, 1), terms: [] }
    const body = reduces ? this.#rowPasses(env, last, extent) : this.#flat(env, run, extent, rows.length === 0)
    return this.#finish(axisLoops(loops, this.#scope, body, 64))
  }

  #finish(body: readonly Stmt[]): LoweredRegion {
    return this.#lowering.finish(this.#region, this.#scope, body, this.#directives)
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
    if (alone && fixed !== undefined && fixed > reductionBlock) {
      const count = ceilDivide(extent, reductionBlock)
      const piece = declareLoop(this.#scope, 'c', count)
      const walk = this.#walk(extent, scaleIndex(piece.index, reductionBlock), groupsInBlock(extent, piece.index, reductionBlock), (place) =>
        this.#storesOf(this.#region.nodes, env.withGroup(run, place, this.#scope.ranges)),
      )
      return [loop(piece.name, count, walk, 'grid')]
    }
    return this.#walk(extent, undefined, ceilDivide(extent, partials), (place) =>
      this.#storesOf(this.#region.nodes, env.withGroup(run, place, this.#scope.ranges)),
    )
  }

  /** for groups of 16 { for the 16 { leaf } }, the 16 in vectors. */
  #walk(extent: Index, base: Index | undefined, groups: Index, leaf: (place: Index, slot: Index) => Stmt): Stmt[] {
    const group = declareLoop(this.#scope, 'o', groups)
    const slot = declareLoop(this.#scope, 'j', partials)
    const place = addIndex(base ?? 0, scaleIndex(group.index, partials), slot.index)
    const fixed = constantOf(extent)
    if (base !== undefined && fixed !== undefined) this.#scope.ranges.set(slot.name, { low: 0, high: partials - 1 })
    const conditions: Condition[] = fixed !== undefined && fixed % partials === 0 ? [] : [{ left: place, right: extent }]
    const inside = guarded(conditions, [leaf(place, slot.index)])
    this.#directives.push(...laneDirectives(slot.name, this.#lowering.profile.lanes))
    return [loop(group.name, groups, [loop(slot.name, partials, inside)])]
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
      const reductions = nodes.filter((node): node is Reduction => isReduction(node) && this.#pass(node) === pass + 1)
      const outputs = nodes.filter(
        (node) => node.axes.includes(inner) && this.#lowering.isStored(node) && this.#pass(node) === pass,
      )
      if (reductions.length > 0 || outputs.length > 0) stmts.push(...this.#onePass(env, inner, extent, reductions, outputs))
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
        stmts.push(...asStatements(storeBlock([store('', [], this.#scope.value(node, env))], (prefix) => this.#scope.fresh(prefix)), name))
        this.#scope.inside.set(node, () => localValue(name))
      }
      if (this.#lowering.isStored(node)) stmts.push(this.#scope.store(node, env, localNameOf(this.#scope, node, env)))
    }
    return stmts
  }

  #onePass(env: Env, inner: Axis, extent: Index, reductions: readonly Reduction[], outputs: readonly Node[]): Stmt[] {
    const parts = new Map(reductions.map((node) => [node, this.#scope.local(this.#scope.fresh('part'), 'register', [partials]).name]))
    const leaf = (place: Index, slot: Index): Stmt => {
      const here = env.with([[inner, place]])
      const partial = reductions.map((node) => {
        const part = parts.get(node) as string
        const operand = this.#scope.value(node.inputs[0] as Node, here)
        const old = load(part, [slot])
        return store(part, [slot], isOp(node, 'sum') ? exprScalars.add(old, operand) : exprScalars.max(operand, old))
      })
      const stores = outputs.map((node) => this.#scope.store(node, here, this.#scope.value(node, here)))
      return storeBlock([...partial, ...stores], (prefix) => this.#scope.fresh(prefix))
    }
    const clear = [...parts].map(([node, part]) => this.#clear(part, neutral(node)))
    const finish = (node: Reduction): Stmt => {
      const name = this.#scope.fresh('s')
      this.#scope.inside.set(node, () => localValue(name))
      return { kind: 'let', name, value: { kind: 'tree', word: isOp(node, 'sum') ? 'add' : 'max', buffer: parts.get(node) as string } }
    }
    if (inner.size <= reductionBlock || reductions.length === 0) {
      return [...clear, ...this.#walk(extent, undefined, ceilDivide(extent, partials), leaf), ...reductions.map(finish)]
    }
    return this.#blocked(extent, reductions, clear, leaf, parts)
  }

  /** More than 4,096 elements: the rule within each block, then over the blocks' results. */
  #blocked(
    extent: Index,
    reductions: readonly Reduction[],
    clear: readonly Stmt[],
    leaf: (place: Index, slot: Index) => Stmt,
    parts: ReadonlyMap<Reduction, string>,
  ): Stmt[] {
    const count = ceilDivide(extent, reductionBlock)
    const block = declareLoop(this.#scope, 'b', count)
    const totals = new Map(reductions.map((node) => [node, this.#scope.local(this.#scope.fresh('total'), 'scratch', [partials]).name]))
    const slotOf: Index = { constant: 0, terms: [{ scale: 1, atom: { kind: 'mod', value: block.index, by: partials } }] }
    const walk = this.#walk(extent, scaleIndex(block.index, reductionBlock), groupsInBlock(extent, block.index, reductionBlock), leaf)
    const add = reductions.flatMap((node): Stmt[] => {
      const word = isOp(node, 'sum') ? 'add' : 'max'
      const total = totals.get(node) as string
      const name = this.#scope.fresh('s')
      const result: Expr = { kind: 'tree', word, buffer: parts.get(node) as string }
      const value = word === 'add' ? exprScalars.add(load(total, [slotOf]), localValue(name)) : exprScalars.max(localValue(name), load(total, [slotOf]))
      return [{ kind: 'let', name, value: result }, store(total, [slotOf], value)]
    })
    const before = [...totals].flatMap(([node, total]) =>
      Array.from({ length: partials }, (_, place) => store(total, [place], neutral(node))),
    )
    const after = reductions.flatMap((node): Stmt[] => {
      const name = this.#scope.fresh('s')
      const total = totals.get(node) as string
      this.#scope.inside.set(node, () => localValue(name))
      return [...scratchTree(total, isOp(node, 'sum') ? 'add' : 'max'), { kind: 'let', name, value: load(total, [0]) }]
    })
    return [...before, loop(block.name, count, [...clear, ...walk, ...add]), ...after]
  }

  #clear(part: string, value: Expr): Stmt {
    const slot = declareLoop(this.#scope, 'z', partials)
    this.#directives.push(...laneDirectives(slot.name, this.#lowering.profile.lanes))
    return loop(slot.name, partials, [store(part, [slot.index], value)])
  }
}

function neutral(node: Reduction): Expr {
  return { kind: 'constant', type: 'f32', value: isOp(node, 'sum') ? 0 : Number.NEGATIVE_INFINITY }
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

/** The 16 slots as vectors: whole copies of `lanes` of them. */
export function laneDirectives(loopName: string, lanes: number): Directive[] {
  if (lanes >= partials) return [{ do: 'bind', loop: loopName, binding: 'lane' }]
  const outer = `${loopName}u`
  const inner = `${loopName}v`
  return [
    { do: 'split', loop: loopName, factor: lanes, outer, inner },
    { do: 'bind', loop: outer, binding: 'unroll' },
    { do: 'bind', loop: inner, binding: 'lane' },
  ]
}
