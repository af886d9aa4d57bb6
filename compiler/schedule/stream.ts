// Kernels over score tensors that never exist whole: attention, its gradients, the loss and its gradients. Threads take
// blocks of one parallel axis; blocks of the streamed axis follow one another. A tile of scores is contracted, worked on
// elementwise, and contracted again into accumulators that stay in scratch.

import { InternalError } from '../diagnostic.ts'
import { elementCount, sameAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import { isOp } from '../graph/node.ts'
import type { Node } from '../graph/node.ts'
import type { Expr, Stmt } from '../kernel/ir.ts'
import {
  addIndex,
  ceilDivide,
  constantIndex,
  constantOf,
  minIndex,
  scaleIndex,
  subtractIndex,
} from '../kernel/index.ts'
import type { Index } from '../kernel/index.ts'
import { liveBlocks, liveRows, roomsOf, scoreConditions, valueConditions } from './live.ts'
import type { Rooms } from './live.ts'
import type { LoweredRegion, Lowering } from './lowering.ts'
import { chainOf } from './operands.ts'
import { declareLoop, load, loop, partials, store } from './nest.ts'
import { walkGroups } from './reduction.ts'
import type { Construction } from './reduction.ts'
import type { Region } from './regions.ts'
import { logOfSum, startSoftmax, takeBlock, valueOf } from './runningSoftmax.ts'
import type { Element } from './runningSoftmax.ts'
import { exprScalars, storeBlock } from './scalars.ts'
import { rowsTogether, streamShape, tileDots } from './scores.ts'
import { streamPhases } from './shards.ts'
import type { Consumer } from './scores.ts'
import { Env, KernelScope } from './scope.ts'
import { enter, walkRun, walksOver } from './walks.ts'

/** Streamed elements at a time where the contract does not say: chains continue across blocks, so any number would do. */
const chainBlock = 64

interface Accumulator {
  readonly node: Node<'dot'> | Node<'softmaxDot'>
  /** The score-like operand, and the other one. */
  readonly scores: Node
  readonly values: Node
  readonly nAxes: readonly Axis[]
  readonly buffer: string
}

export function lowerStream(lowering: Lowering, region: Region): LoweredRegion {
  return new StreamLowering(lowering, region).run()
}

class StreamLowering {
  readonly #lowering: Lowering
  readonly #region: Region
  readonly #scope: KernelScope
  readonly #construction: Construction
  readonly #softmax: boolean
  readonly #streamed: Axis
  readonly #outer: readonly Axis[]
  readonly #parallel: Axis
  readonly #grid: readonly Axis[]
  readonly #rows: number
  readonly #columns: number
  readonly #accumulators: readonly Accumulator[]
  readonly #tiles = new Map<Node, string>()
  /** Place within the current tile, for values held in tiles. */
  #here: { row: Index; column: Index } | undefined

  constructor(lowering: Lowering, region: Region) {
    this.#lowering = lowering
    this.#region = region
    this.#scope = new KernelScope(lowering.storageFor(region))
    this.#construction = { scope: this.#scope, directives: [], lanes: lowering.profile.lanes }
    const first = region.nodes[0] as Node
    this.#softmax = region.kind === 'softmax'
    const isTile = (node: Node): boolean => lowering.partition.isVirtual(node)
    const scores = first.inputs.find(isTile)
    const shape = scores && streamShape(first as Consumer, scores, isTile)
    if (!shape) throw new InternalError(`a ${first.op} without a parallel axis cannot stream`)
    this.#streamed = shape.streamed
    this.#outer = shape.outer
    this.#parallel = shape.parallel
    this.#grid = shape.grid
    this.#columns = this.#softmax ? (first as Node<'logSumExp'>).attrs.block : chainBlock
    this.#rows = rowsTogether(this.#parallel.size, elementCount(this.#grid), lowering.profile.threads)
    this.#accumulators = region.nodes.flatMap((node) => this.#accumulatorOf(node))
  }

  #accumulatorOf(node: Node): Accumulator[] {
    if (!isOp(node, 'dot') && !isOp(node, 'softmaxDot')) return []
    const [a, b] = node.inputs as [Node, Node]
    const swapped = isOp(node, 'dot') && !this.#lowering.partition.isVirtual(a)
    const [scores, values] = swapped ? [b, a] : [a, b]
    if (!this.#lowering.partition.isVirtual(scores))
      throw new InternalError('a streamed contraction reads its scores through a view')
    const nAxes = this.#lowering.layout(node).filter((axis) => !this.#region.space.includes(axis))
    const buffer = this.#scope.local(this.#scope.fresh('o'), 'scratch', [this.#rows, elementCount(nAxes)]).name
    return [{ node, scores, values, nAxes, buffer }]
  }

  run(): LoweredRegion {
    const scope = this.#scope
    const gridWalks = this.#grid.map((axis) => walkRun(scope, 'g', [axis]))
    const parallelExtent = scope.extent(this.#parallel)
    const rowBlocks = ceilDivide(parallelExtent, this.#rows)
    const rowBlock = declareLoop(scope, 'pb', rowBlocks)
    const base = scaleIndex(rowBlock.index, this.#rows)
    const rowCount = minIndex(this.#rows, subtractIndex(parallelExtent, base))
    const gridEnv = gridWalks.reduce((env, walk) => enter(env, walk, scope), new Env(new Map()))

    const outerWalks = this.#outer.map((axis) => walkRun(scope, 'u', [axis]))
    const env = outerWalks.reduce((inner, walk) => enter(inner, walk, scope), gridEnv)
    const streamedExtent = scope.extent(this.#streamed)
    const blocks = ceilDivide(streamedExtent, this.#columns)
    const rooms = this.#rooms()
    const { first, count } = liveBlocks(rooms, { base, rows: this.#rows, columns: this.#columns, blocks }, scope.ranges)
    const block = declareLoop(scope, 'rb', count)
    const columnBase = scaleIndex(addIndex(first, block.index), this.#columns)
    const columnCount = minIndex(this.#columns, subtractIndex(streamedExtent, columnBase))
    const seen = this.#lowering.profile.wholeBlocks === true ? { after: undefined, before: undefined } : rooms
    const live = liveRows(seen, { base: columnBase, columns: this.#columns }, base, rowCount)
    const tile: Tile = { base, firstRow: live.first, rowCount: live.count, columnBase, columnCount, env }

    const before = this.#start(rowCount)
    const body = [
      ...this.#scoreTiles(tile),
      ...(this.#softmax ? this.#softmaxRows(tile) : this.#valueRows(tile)),
      ...this.#accumulators.flatMap((accumulator) => this.#accumulate(accumulator, tile)),
    ]
    const stream = outerWalks.reduceRight<readonly Stmt[]>(
      (rest, walk) => [loop(walk.name, walk.extent, rest)],
      [loop(block.name, count, body)],
    )
    const after = this.#finish(base, rowCount, gridEnv)
    if (outerWalks.length === 0 && constantOf(count) !== undefined) {
      const stream = { loop: block.name, columns: this.#columns, keeping: this.#sums }
      const phases = streamPhases(this.#lowering, this.#streamedOperands, this.#streamed, stream)
      this.#construction.directives.push(...phases)
    }
    const grid = gridWalks.reduceRight<readonly Stmt[]>(
      (rest, walk) => [loop(walk.name, walk.extent, rest, 'grid')],
      [loop(rowBlock.name, rowBlocks, [...before, ...stream, ...after], 'grid')],
    )
    return this.#lowering.finish(this.#region, scope, grid, this.#construction.directives)
  }

  /** Buffers that go on from one block of the streamed axis to the next. */
  get #sums(): string[] {
    return [...this.#accumulators.map(({ buffer }) => buffer), ...(this.#softmax ? Object.values(this.#running) : [])]
  }

  /** What is read along the streamed axis. */
  get #streamedOperands(): Node[] {
    const dots = [...this.#tiles.keys()].flatMap((node) => (isOp(node, 'dot') ? node.inputs : []))
    return [...dots, ...this.#accumulators.map(({ values }) => values)]
  }

  /** What rows of a block can see of the streamed axis. */
  #rooms(): Rooms {
    const conditions = this.#accumulators.map((one) =>
      this.#softmax ? scoreConditions(one.scores) : valueConditions(one.scores),
    )
    const scores = this.#region.nodes.find((node) => isOp(node, 'logSumExp'))?.inputs[0]
    if (scores) conditions.push(scoreConditions(scores))
    return roomsOf(conditions, this.#parallel, this.#streamed)
  }

  #rowLoop(count: Index, body: (row: Index) => Stmt[]): Stmt {
    const row = declareLoop(this.#scope, 'p', count)
    return loop(row.name, count, body(row.index))
  }

  /** The rows of a tile that see something of its columns. */
  #liveLoop({ firstRow, rowCount }: Tile, body: (row: Index) => Stmt[]): Stmt {
    return this.#rowLoop(rowCount, (row) => body(addIndex(firstRow, row)))
  }

  /** Groups of 16 elements along a row in vectors. */
  #columnLoop(count: Index, leaf: (column: Index, slot: Index) => Stmt): Stmt[] {
    return walkGroups(this.#construction, count, undefined, ceilDivide(count, partials), leaf)
  }

  #start(rowCount: Index): Stmt[] {
    const clear = this.#accumulators.map((accumulator) =>
      this.#rowLoop(rowCount, (row) =>
        this.#columnLoop(constantIndex(elementCount(accumulator.nAxes)), (column) =>
          store(accumulator.buffer, [row, column], exprScalars.float(0)),
        ),
      ),
    )
    if (!this.#softmax) return clear
    this.#scope.local(this.#running.largest, 'scratch', [this.#rows])
    this.#scope.local(this.#running.total, 'scratch', [this.#rows])
    return [...clear, this.#rowLoop(rowCount, (row) => startSoftmax(this.#runningAt(row)))]
  }

  /** Largest score and sum of exponentials of each row so far. */
  readonly #running = { largest: 'row_max', total: 'row_sum' }

  #runningAt(row: Index): { largest: Element; total: Element } {
    const { largest, total } = this.#running
    return { largest: { buffer: largest, indices: [row] }, total: { buffer: total, indices: [row] } }
  }

  /** The contractions that make the tile's scores (and, in gradients, their cotangents). */
  #scoreTiles(tile: Tile): Stmt[] {
    const summed = this.#region.nodes.flatMap((node) => (isOp(node, 'logSumExp') ? node.inputs : []))
    const scores = [...this.#accumulators.map((accumulator) => accumulator.scores), ...summed]
    const dots = scores.flatMap((node) => tileDots(node, (one) => this.#lowering.partition.isVirtual(one)))
    return [...new Set(dots)].flatMap((dot) => this.#scoreTile(dot, tile))
  }

  #scoreTile(dot: Node<'dot'>, tile: Tile): Stmt[] {
    const scope = this.#scope
    const [x, y] = dot.inputs as [Node, Node]
    const vectorOperand = y.axes.includes(this.#streamed) ? 1 : 0
    const [broadcast, vector] = vectorOperand === 1 ? [x, y] : [y, x]
    if (broadcast.axes.includes(this.#streamed) || vector.axes.includes(this.#parallel)) {
      throw new InternalError('a score contraction with both long axes on one operand is not supported')
    }
    const buffer = scope.local(scope.fresh('s'), 'scratch', [this.#rows, this.#columns]).name
    this.#tiles.set(dot, buffer)
    scope.inside.set(dot, () => this.#tileValue(buffer))
    const n = declareLoop(scope, 'n', tile.columnCount)
    const m = declareLoop(scope, 'm', tile.rowCount)
    const kWalks = walksOver(scope, 'k', dot.attrs.over, this.#lowering.contiguousSuffix([x, y], dot.attrs.over))
    const row = addIndex(tile.firstRow, m.index)
    const outside = this.#placeIn(tile, row, n.index)
    const env = kWalks.reduce((inner, walk) => enter(inner, walk, scope), outside)
    const operands = [scope.value(x, env), scope.value(y, env)] as const
    const accumulator = scope.local(scope.fresh('acc'), 'register', []).name
    const chain = kWalks.reduceRight<readonly Stmt[]>(
      (rest, walk) => [loop(walk.name, walk.extent, rest)],
      [store(accumulator, [], exprScalars.fma(operands[0], operands[1], load(accumulator, [])))],
    )
    const body = [
      store(accumulator, [], exprScalars.float(0)),
      ...chain,
      store(buffer, [row, n.index], load(accumulator, [])),
    ]
    const rows = { name: m.name, bound: this.#rows }
    this.#construction.directives.push(
      ...this.#lowering.tile(
        {
          accumulator,
          n: n.name,
          nBound: this.#columns,
          m: m.name,
          mBound: this.#rows,
          between: [],
          ...chainOf(this.#lowering, scope, { inputs: [x, y], operands, vectorOperand, kWalks, m: rows }),
          readable: false,
          grid: undefined,
        },
        scope,
      ),
    )
    return [loop(n.name, tile.columnCount, [loop(m.name, tile.rowCount, body)])]
  }

  #placeIn(tile: Tile, row: Index, column: Index): Env {
    return tile.env.with([
      [this.#parallel, addIndex(tile.base, row)],
      [this.#streamed, addIndex(tile.columnBase, column)],
    ])
  }

  #tileValue(buffer: string): Expr {
    if (!this.#here) throw new InternalError('a score is read outside its tile')
    return load(buffer, [this.#here.row, this.#here.column])
  }

  #valueAt(node: Node, tile: Tile, row: Index, column: Index): Expr {
    this.#here = { row, column }
    const value = this.#scope.value(node, this.#placeIn(tile, row, column))
    this.#here = undefined
    return value
  }

  /** One step of the running softmax of each row. */
  #softmaxRows(tile: Tile): Stmt[] {
    const scores = (this.#region.nodes[0] as Node).inputs[0] as Node
    const buffer = this.#scope.local(this.#scope.fresh('e'), 'scratch', [this.#rows, this.#columns]).name
    this.#tiles.set(scores, buffer)
    const statement = this.#liveLoop(tile, (row) => {
      const { stmts, factor } = takeBlock(this.#construction, {
        count: tile.columnCount,
        bound: this.#columns,
        score: (column) => this.#valueAt(scores, tile, row, column),
        weight: (column) => ({ buffer, indices: [row, column] }),
        ...this.#runningAt(row),
      })
      const rescale = this.#accumulators.flatMap(({ buffer: sums, nAxes }) =>
        this.#columnLoop(constantIndex(elementCount(nAxes)), (column) =>
          store(sums, [row, column], exprScalars.mul(load(sums, [row, column]), factor)),
        ),
      )
      return [...stmts, ...rescale]
    })
    return [statement]
  }

  /** The score-like operands of all accumulators at the tile's places. */
  #valueRows(tile: Tile): Stmt[] {
    const wanted = [...new Set(this.#accumulators.map((accumulator) => accumulator.scores))].filter(
      (node) => !this.#tiles.has(node),
    )
    if (wanted.length === 0) return []
    for (const node of wanted) {
      this.#tiles.set(node, this.#scope.local(this.#scope.fresh('e'), 'scratch', [this.#rows, this.#columns]).name)
    }
    const statement = this.#liveLoop(tile, (row) =>
      this.#columnLoop(tile.columnCount, (column) => {
        const stores = wanted.map((node) =>
          store(this.#tiles.get(node) as string, [row, column], this.#valueAt(node, tile, row, column)),
        )
        return storeBlock(stores, (prefix) => this.#scope.fresh(prefix))
      }),
    )
    return [statement]
  }

  /** accumulator[row, n] continues its chain over the tile's columns. */
  #accumulate(accumulator: Accumulator, tile: Tile): Stmt[] {
    const scope = this.#scope
    const { node, values, nAxes, buffer } = accumulator
    const scores = this.#tiles.get(accumulator.scores) as string
    const m = declareLoop(scope, 'm', tile.rowCount)
    const row = addIndex(tile.firstRow, m.index)
    const k = declareLoop(scope, 'k', tile.columnCount)
    const runs = this.#lowering.contiguousSuffix([values], nAxes)
    const whole = runs.length === nAxes.length
    const nWalks = whole ? walksOver(scope, 'n', nAxes, nAxes) : nAxes.map((axis) => walkRun(scope, 'n', [axis]))
    const outside = nWalks.reduce((env, walk) => enter(env, walk, scope), tile.env)
    const env = outside.with([[this.#streamed, addIndex(tile.columnBase, k.index)]])
    const place = nWalks.reduce<Index>(
      (sum, walk) => addIndex(scaleIndex(sum, walk.bound), walk.index),
      constantIndex(0),
    )
    const register = scope.local(scope.fresh('acc'), 'register', []).name
    const operand = scope.value(values, env)
    const first = node.inputs[0] !== values
    const factors = first ? [load(scores, [row, k.index]), operand] : [operand, load(scores, [row, k.index])]
    const body = [
      store(register, [], load(buffer, [row, place])),
      loop(k.name, tile.columnCount, [
        store(register, [], exprScalars.fma(factors[0] as Expr, factors[1] as Expr, load(register, []))),
      ]),
      store(buffer, [row, place], load(register, [])),
    ]
    const n = nWalks.at(-1)
    const nest = nWalks.reduceRight<readonly Stmt[]>(
      (rest, walk) => [loop(walk.name, walk.extent, rest)],
      [loop(m.name, tile.rowCount, body)],
    )
    if (!n || n.bound === 1) return [...nest]
    this.#construction.directives.push(
      ...this.#lowering.tile(
        {
          accumulator: register,
          n: n.name,
          nBound: n.bound,
          vectorOperand: first ? 1 : 0,
          m: m.name,
          mBound: this.#rows,
          k: [k.name],
          kBounds: [this.#columns],
          kBound: this.#columns,
          between: [],
          transposes: this.#lowering.fastAxis(values) === this.#streamed,
          readable: false,
          packBroadcast: 'no',
          // A row of the tile of scores.
          neighbours: 'k',
          grid: undefined,
        },
        scope,
      ),
    )
    return [...nest]
  }

  #finish(base: Index, rowCount: Index, gridEnv: Env): Stmt[] {
    const sums = this.#region.nodes.filter((node) => isOp(node, 'logSumExp') && this.#lowering.isStored(node))
    const stmts = sums.map((node) =>
      this.#rowLoop(rowCount, (row) => {
        const env = gridEnv.with([[this.#parallel, addIndex(base, row)]])
        const result = this.#scope.store(node, env, logOfSum(this.#runningAt(row)))
        return [storeBlock([result], (prefix) => this.#scope.fresh(prefix))]
      }),
    )
    const shapes: (readonly Axis[])[] = []
    for (const { node } of this.#accumulators)
      if (!shapes.some((axes) => sameAxes(axes, node.axes))) shapes.push(node.axes)
    return [...stmts, ...shapes.map((axes) => this.#finishShape(axes, base, rowCount, gridEnv))]
  }

  /** Stores of all results over the same axes, with what was fused behind them. */
  #finishShape(axes: readonly Axis[], base: Index, rowCount: Index, gridEnv: Env): Stmt {
    const scope = this.#scope
    const group = this.#accumulators.filter((accumulator) => sameAxes(accumulator.node.axes, axes))
    const outputs = this.#region.nodes.filter(
      (node) => sameAxes(node.axes, axes) && this.#lowering.isStored(node) && !isOp(node, 'logSumExp'),
    )
    const nAxes = (group[0] as Accumulator).nAxes
    return this.#rowLoop(rowCount, (row) => {
      const rowEnv = gridEnv.with([[this.#parallel, addIndex(base, row)]])
      return this.#columnLoop(constantIndex(elementCount((group[0] as Accumulator).nAxes)), (column) => {
        const env = nAxes.length === 0 ? rowEnv : rowEnv.withGroup(nAxes, column, scope.ranges)
        for (const { node, buffer } of group) {
          const total = load(buffer, [row, column])
          const value = this.#softmax ? exprScalars.div(total, valueOf(this.#runningAt(row).total)) : total
          scope.inside.set(node, () => value)
        }
        return storeBlock(
          outputs.map((node) => scope.store(node, env, scope.value(node, env))),
          (prefix) => scope.fresh(prefix),
        )
      })
    })
  }
}

interface Tile {
  /** First position along the parallel axis. */
  readonly base: Index
  /** Of the rows from there those that see something of the columns, and how many they are. */
  readonly firstRow: Index
  readonly rowCount: Index
  /** The same along the streamed axis. */
  readonly columnBase: Index
  readonly columnCount: Index
  readonly env: Env
}
