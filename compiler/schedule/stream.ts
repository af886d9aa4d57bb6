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
import { chainOf, movedTo } from './operands.ts'
import { declareLoop, load, loop, partials, store } from './nest.ts'
import { walkGroups } from './reduction.ts'
import type { Construction } from './reduction.ts'
import type { Region } from './regions.ts'
import { logOfSum, startSoftmax, takeBlock, valueOf } from './runningSoftmax.ts'
import type { BlockSteps, Element, SoftmaxBlock } from './runningSoftmax.ts'
import { exprScalars, storeBlock } from './scalars.ts'
import { rowsTogether, streamShape, tileDots } from './scores.ts'
import { streamPhases } from './shards.ts'
import type { Consumer } from './scores.ts'
import { Env, KernelScope } from './scope.ts'
import { sumOverTile } from './streamSums.ts'
import type { Side, SummedTile } from './streamSums.ts'
import { liveGroups, scorePieces, scoreRows } from './streamTile.ts'
import type { Tile } from './streamTile.ts'
import type { TileNest } from './tileNest.ts'
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
  /** Its rows are the columns of the others, and it goes on from one block of rows to the next. */
  readonly crosses: boolean
}

/** A contraction of scores, and where its tile is. */
interface ScoreDot {
  readonly dot: Node<'dot'>
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
    const crosses = node.axes.includes(this.#streamed)
    const kept = crosses ? [...this.#outer, this.#streamed].map((axis) => axis.size) : [this.#rows]
    const buffer = this.#scope.local(this.#scope.fresh('o'), 'scratch', [...kept, elementCount(nAxes)]).name
    return [{ node, scores, values, nAxes, buffer, crosses }]
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
    const seen: Rooms = this.#lowering.profile.wholeBlocks === true ? { after: undefined, before: undefined } : rooms
    const tile: Tile = {
      base,
      blockRows: rowCount,
      rows: liveRows(seen, { base: columnBase, columns: this.#columnsOf(columnCount) }, base, rowCount),
      columnBase,
      columnCount,
      columns: this.#columns,
      outer: outerWalks.map((walk) => walk.index),
      env,
      rooms: seen,
    }

    const before = this.#start(rowCount)
    const body = this.#tileBody(tile)
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
    const rows = [...before, ...stream, ...after]
    const grid = gridWalks.reduceRight<readonly Stmt[]>(
      (rest, walk) => [loop(walk.name, walk.extent, rest, 'grid')],
      this.#isCrossed
        ? [...this.#startCrossed(), loop(rowBlock.name, rowBlocks, rows), ...this.#finishCrossed(gridEnv)]
        : [loop(rowBlock.name, rowBlocks, rows, 'grid')],
    )
    return this.#lowering.finish(this.#region, scope, grid, this.#construction.directives)
  }

  #tileBody(tile: Tile): Stmt[] {
    const dots = this.#holdDots()
    const held = this.#softmax ? [this.#holdScores()] : this.#holdValues()
    const sums = this.#accumulators.map((accumulator) => this.#accumulate(accumulator, tile))
    const reach = Math.max(0, ...sums.map((sum) => sum.reach))
    // Directives that leave something out stand in this order: first what reads it, then what makes it.
    const rows = this.#softmax ? this.#softmaxRows(tile, reach) : this.#valueRows(held, tile, reach)
    const scores = dots.flatMap((dot) => this.#scoreTile(dot, tile, reach))
    return [...scores, ...rows, ...sums.flatMap(({ stmts }) => stmts)]
  }

  /** Columns of a block that rows may see: with as many positions both ways, no row looks beyond the last one. */
  #columnsOf(columnCount: Index): Index | number {
    const { size, extent } = this.#parallel
    return size === this.#streamed.size && extent === this.#streamed.extent ? this.#columns : columnCount
  }

  /** Scores of the softmax, as a tile that turns into their weights. */
  #holdScores(): Node {
    const scores = (this.#region.nodes[0] as Node).inputs[0] as Node
    this.#hold([scores])
    return scores
  }

  /** The score-like operands of all accumulators that no contraction has made, as tiles. */
  #holdValues(): Node[] {
    const scores = new Set(this.#accumulators.map((accumulator) => accumulator.scores))
    const wanted = [...scores].filter((node) => !this.#tiles.has(node))
    this.#hold(wanted)
    return wanted
  }

  #hold(nodes: readonly Node[]): void {
    for (const node of nodes) {
      this.#tiles.set(node, this.#scope.local(this.#scope.fresh('e'), 'scratch', [this.#rows, this.#columns]).name)
    }
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
  #liveLoop({ rows }: Tile, body: (row: Index) => Stmt[]): Stmt {
    return this.#rowLoop(rows.count, (row) => body(addIndex(rows.first, row)))
  }

  /** Groups of 16 elements along a row in vectors. */
  #columnLoop(count: Index, leaf: (column: Index, slot: Index) => Stmt): Stmt[] {
    return walkGroups(this.#construction, count, undefined, ceilDivide(count, partials), leaf)
  }

  get #isCrossed(): boolean {
    return this.#accumulators.some(({ crosses }) => crosses)
  }

  /** Each row of a crossing sum: its place in scratch, and what `gridEnv` and its loops say of its place. */
  #crossedRows(gridEnv: Env, body: (place: readonly Index[], env: Env) => Stmt[]): Stmt[] {
    const walks = [...this.#outer, this.#streamed].map((axis) => walkRun(this.#scope, 'u', [axis]))
    const env = walks.reduce((inner, walk) => enter(inner, walk, this.#scope), gridEnv)
    const place = walks.map(({ index }) => index)
    return [
      ...walks.reduceRight<readonly Stmt[]>((rest, walk) => [loop(walk.name, walk.extent, rest)], body(place, env)),
    ]
  }

  #clear({ buffer, nAxes }: Accumulator, place: readonly Index[]): Stmt[] {
    return this.#columnLoop(constantIndex(elementCount(nAxes)), (column) =>
      store(buffer, [...place, column], exprScalars.float(0)),
    )
  }

  #startCrossed(): Stmt[] {
    const crossing = this.#accumulators.filter(({ crosses }) => crosses)
    return crossing.flatMap((one) => this.#crossedRows(new Env(new Map()), (place) => this.#clear(one, place)))
  }

  #finishCrossed(gridEnv: Env): Stmt[] {
    return this.#shapes(true).flatMap((axes) =>
      this.#crossedRows(gridEnv, (place, env) => this.#finishShape(axes, place, env)),
    )
  }

  #start(rowCount: Index): Stmt[] {
    const clear = this.#accumulators
      .filter(({ crosses }) => !crosses)
      .map((accumulator) => this.#rowLoop(rowCount, (row) => this.#clear(accumulator, [row])))
    if (!this.#softmax) return clear
    for (const name of Object.values({ ...this.#running, ...this.#ofBlock }))
      this.#scope.local(name, 'scratch', [this.#rows])
    return [...clear, this.#rowLoop(rowCount, (row) => startSoftmax(this.#runningAt(row)))]
  }

  /** Largest score and sum of exponentials of each row so far. */
  readonly #running = { largest: 'row_max', total: 'row_sum' }
  /** Largest score of each row with the block at hand, and what its sums are multiplied by. */
  readonly #ofBlock = { greatest: 'row_new', factor: 'row_factor' }

  #runningAt(row: Index): RunningRow {
    const at = (buffer: string): Element => ({ buffer, indices: [row] })
    return {
      largest: at(this.#running.largest),
      total: at(this.#running.total),
      greatest: at(this.#ofBlock.greatest),
      factor: at(this.#ofBlock.factor),
    }
  }

  /** The contractions that make the tile's scores (and, in gradients, their cotangents), each with a tile. */
  #holdDots(): ScoreDot[] {
    const summed = this.#region.nodes.flatMap((node) => (isOp(node, 'logSumExp') ? node.inputs : []))
    const scores = [...this.#accumulators.map((accumulator) => accumulator.scores), ...summed]
    const dots = scores.flatMap((node) => tileDots(node, (one) => this.#lowering.partition.isVirtual(one)))
    const distinct = [...new Set(dots)]
    return distinct.map((dot) => {
      const buffer = this.#scope.local(this.#scope.fresh('s'), 'scratch', [this.#rows, this.#columns]).name
      this.#tiles.set(dot, buffer)
      this.#scope.inside.set(dot, () => this.#tileValue(buffer))
      return { dot, buffer }
    })
  }

  #scoreTile({ dot, buffer }: ScoreDot, tile: Tile, reach: number): Stmt[] {
    const scope = this.#scope
    const [x, y] = dot.inputs as [Node, Node]
    const vectorOperand = y.axes.includes(this.#streamed) ? 1 : 0
    const [broadcast, vector] = vectorOperand === 1 ? [x, y] : [y, x]
    if (broadcast.axes.includes(this.#streamed) || vector.axes.includes(this.#parallel)) {
      throw new InternalError('a score contraction with both long axes on one operand is not supported')
    }
    const n = declareLoop(scope, 'n', tile.columnCount)
    const live = scoreRows(tile, reach)
    const m = declareLoop(scope, 'm', live.count)
    const row = addIndex(live.first, m.index)
    const outside = this.#placeIn(tile, row, n.index)
    const kWalks = walksOver(scope, 'k', dot.attrs.over, this.#lowering.contiguousSuffix([x, y], dot.attrs.over))
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
    const pieces = scorePieces(tile, n.name, m.name, reach)
    const chained = chainOf(this.#lowering, scope, { inputs: [x, y], operands, vectorOperand, kWalks, m: rows })
    const nest: TileNest = {
      accumulator,
      n: pieces.n,
      nBound: pieces.nBound,
      m: m.name,
      mBound: this.#rows,
      between: [],
      ...chained,
      ...(chained.memory ? { memory: movedTo(chained.memory, n.name, pieces.column) } : {}),
      readable: false,
      grid: undefined,
    }
    this.#construction.directives.push(...pieces.directives, ...this.#lowering.tile(nest, scope))
    return [loop(n.name, tile.columnCount, [loop(m.name, live.count, body)])]
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

  /** Values of one place of a tile; what they share is one expression. */
  #valuesAt(nodes: readonly Node[], tile: Tile, row: Index, column: Index): Expr[] {
    const env = this.#placeIn(tile, row, column)
    this.#here = { row, column }
    const values = nodes.map((node) => this.#scope.value(node, env))
    this.#here = undefined
    return values
  }

  /** One step of the running softmax of each row. */
  #softmaxRows(tile: Tile, reach: number): Stmt[] {
    const scores = (this.#region.nodes[0] as Node).inputs[0] as Node
    const buffer = this.#tiles.get(scores) as string
    const rowSteps = (row: Index): BlockSteps =>
      takeBlock(this.#construction, {
        count: tile.columnCount,
        bound: this.#columns,
        score: (column) => this.#valuesAt([scores], tile, row, column)[0] as Expr,
        weight: (column) => ({ buffer, indices: [row, column] }),
        within: liveGroups(tile, row, reach),
        ...this.#runningAt(row),
      })
    // Row by row, each would wait for its largest score and its factor; so all rows go through one step before the next.
    return [
      this.#liveLoop(tile, (row) => rowSteps(row).maximum()),
      this.#acrossRows(tile, (row) => rowSteps(row).rescale()),
      this.#liveLoop(tile, (row) => rowSteps(row).weigh()),
    ]
  }

  /** Rows of a tile as lanes. */
  #acrossRows({ rows }: Tile, leaf: (row: Index) => Stmt): Stmt {
    const row = declareLoop(this.#scope, 'p', rows.count)
    const [outer, lane] = [`${row.name}g`, `${row.name}l`]
    this.#construction.directives.push(
      { do: 'split', loop: row.name, factor: this.#lowering.profile.lanes, outer, inner: lane },
      { do: 'bind', loop: lane, binding: 'lane' },
    )
    return loop(row.name, rows.count, [leaf(addIndex(rows.first, row.index))])
  }

  /** Score-like operands at the tile's places. */
  #valueRows(wanted: readonly Node[], tile: Tile, reach: number): Stmt[] {
    if (wanted.length === 0) return []
    const groups = ceilDivide(tile.columnCount, partials)
    const statement = this.#liveLoop(tile, (row) => {
      const leaf = (column: Index): Stmt => {
        const values = this.#valuesAt(wanted, tile, row, column)
        const stores = wanted.map((node, place) =>
          store(this.#tiles.get(node) as string, [row, column], values[place] as Expr),
        )
        return storeBlock(stores, (prefix) => this.#scope.fresh(prefix))
      }
      const within = liveGroups(tile, row, reach)
      return walkGroups(this.#construction, tile.columnCount, undefined, groups, leaf, within)
    })
    return [statement]
  }

  /** The accumulator's sums take what the tile has for them. */
  #accumulate({ node, scores, values, nAxes, buffer, crosses }: Accumulator, tile: Tile): SummedTile {
    const held = this.#tiles.get(scores) as string
    const rows: Side = {
      bound: this.#rows,
      count: tile.rows.count,
      place: (number) => addIndex(tile.rows.first, number),
    }
    const columns: Side = { bound: this.#columns, count: tile.columnCount, place: (number) => number }
    const common = { node, values, nAxes, buffer, env: tile.env }
    const ofRow = (row: Index): Index => addIndex(tile.base, row)
    const ofColumn = (column: Index): Index => addIndex(tile.columnBase, column)
    const { after, before } = tile.rooms
    if (crosses) {
      return sumOverTile(this.#lowering, this.#construction, {
        ...common,
        axis: this.#parallel,
        position: ofRow,
        keptPosition: ofColumn,
        rooms: { after: before, before: after },
        kept: columns,
        summed: rows,
        neighbours: 'm',
        score: (column, row) => load(held, [row, column]),
        at: (column, place) => [...tile.outer, ofColumn(column), place],
        start: (sum) => sum,
      })
    }
    return sumOverTile(this.#lowering, this.#construction, {
      ...common,
      axis: this.#streamed,
      position: ofColumn,
      keptPosition: ofRow,
      rooms: tile.rooms,
      kept: rows,
      summed: columns,
      neighbours: 'k',
      score: (row, column) => load(held, [row, column]),
      at: (row, place) => [row, place],
      start: (sum, row) => (this.#softmax ? exprScalars.mul(sum, valueOf(this.#runningAt(row).factor)) : sum),
    })
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
    const finished = this.#shapes(false).map((axes) =>
      this.#rowLoop(rowCount, (row) =>
        this.#finishShape(axes, [row], gridEnv.with([[this.#parallel, addIndex(base, row)]])),
      ),
    )
    return [...stmts, ...finished]
  }

  /** The different axes of results, of those that cross the others or of the others. */
  #shapes(crossing: boolean): (readonly Axis[])[] {
    const shapes: (readonly Axis[])[] = []
    for (const { node, crosses } of this.#accumulators) {
      if (crosses === crossing && !shapes.some((axes) => sameAxes(axes, node.axes))) shapes.push(node.axes)
    }
    return shapes
  }

  /** Stores of all results over the same axes, with what was fused behind them: of one row, at `place` in scratch. */
  #finishShape(axes: readonly Axis[], place: readonly Index[], rowEnv: Env): Stmt[] {
    const scope = this.#scope
    const group = this.#accumulators.filter((accumulator) => sameAxes(accumulator.node.axes, axes))
    const outputs = this.#region.nodes.filter(
      (node) => sameAxes(node.axes, axes) && this.#lowering.isStored(node) && !isOp(node, 'logSumExp'),
    )
    const nAxes = (group[0] as Accumulator).nAxes
    return this.#columnLoop(constantIndex(elementCount(nAxes)), (column) => {
      const env = nAxes.length === 0 ? rowEnv : rowEnv.withGroup(nAxes, column, scope.ranges)
      for (const { node, buffer } of group) {
        const total = load(buffer, [...place, column])
        const [row] = place
        const value = this.#softmax && row ? exprScalars.div(total, valueOf(this.#runningAt(row).total)) : total
        scope.inside.set(node, () => value)
      }
      return storeBlock(
        outputs.map((node) => scope.store(node, env, scope.value(node, env))),
        (prefix) => scope.fresh(prefix),
      )
    })
  }
}

type RunningRow = Pick<SoftmaxBlock, 'largest' | 'total' | 'greatest' | 'factor'>
