// Which values over the axes of a score tensor never exist in memory. Scores stream when every use of them can work on a
// tile at a time; otherwise they are stored and ordinary kernels read them, with the same bits. Knows no loops.

import { sameAxes, withoutAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import { isOp } from '../graph/node.ts'
import type { Node } from '../graph/node.ts'
import { partials, reductionBlock } from './nest.ts'

/** Takes scores one tile at a time. */
export type Consumer = Node<'logSumExp'> | Node<'softmaxDot'> | Node<'dot'>

/** How a consumer walks its scores: threads along `grid` and blocks of `parallel`, one after another along the rest. */
export interface StreamShape {
  readonly outer: readonly Axis[]
  readonly streamed: Axis
  readonly parallel: Axis
  readonly grid: readonly Axis[]
}

/**
 * Undefined where nothing is left to be parallel: an axis that lies across the streamed one in every contraction that the
 * scores are made of, and that the other operand, if there is one, does not have.
 */
export function streamShape(
  consumer: Consumer,
  scores: Node,
  isTile: (node: Node) => boolean,
): StreamShape | undefined {
  const over = isOp(consumer, 'dot') ? consumer.attrs.over : [consumer.attrs.over]
  const streamed = over.at(-1)
  if (!streamed) return undefined
  const values = consumer.inputs.find((input) => input !== scores)
  const dots = tileDots(scores, isTile)
  const others = withoutAxes(scores.axes, over)
  const across = others.filter(
    (axis) => !values?.axes.includes(axis) && dots.every((dot) => crosses(dot, axis, streamed)),
  )
  const [first] = across
  if (!first) return undefined
  const parallel = across.reduce((best, axis) => (axis.size > best.size ? axis : best), first)
  return { outer: over.slice(0, -1), streamed, parallel, grid: withoutAxes(others, [parallel]) }
}

export function isSoftmax(node: Node): node is Node<'logSumExp'> | Node<'softmaxDot'> {
  return isOp(node, 'logSumExp') || isOp(node, 'softmaxDot')
}

/**
 * The values that exist as tiles only: contractions over the axes of some softmax's scores and elementwise work on them,
 * as far as all of their users stream. `kept` are values that must be in memory anyway.
 */
export function tileOnlyValues(
  nodes: readonly Node[],
  users: ReadonlyMap<Node, readonly Node[]>,
  kept: ReadonlySet<Node>,
  layout: (node: Node) => readonly Axis[],
): ReadonlySet<Node> {
  const spaces = nodes.filter(isSoftmax).map((node) => (node.inputs[0] as Node).axes)
  const tiles = new Set(
    nodes.filter((node) => isTileWork(node) && !kept.has(node) && spaces.some((space) => sameAxes(node.axes, space))),
  )
  const isUsedInTiles = (node: Node): boolean =>
    (users.get(node) ?? []).every((user) => {
      if (tiles.has(user)) return user.op === 'map'
      return scoresOf(user, tiles) === node && streams(user as Consumer, node, tiles, layout)
    })
  for (let before = -1; before !== tiles.size;) {
    before = tiles.size
    for (const node of tiles) if (!isUsedInTiles(node)) tiles.delete(node)
  }
  return tiles
}

function isTileWork(node: Node): boolean {
  return isOp(node, 'dot') || isOp(node, 'map') || isOp(node, 'random')
}

/** The operand that a consumer takes as tiles, when exactly one of its operands is. */
export function scoresOf(node: Node, tiles: ReadonlySet<Node>): Node | undefined {
  if (tiles.has(node)) return undefined
  const [first, second] = node.inputs
  if (isSoftmax(node)) return first && tiles.has(first) && !(second && tiles.has(second)) ? first : undefined
  if (!isOp(node, 'dot')) return undefined
  const held = node.inputs.filter((input) => tiles.has(input))
  return held.length === 1 ? held[0] : undefined
}

/** Whether a streamed kernel can do the consumer's work on these scores. */
function streams(
  consumer: Consumer,
  scores: Node,
  tiles: ReadonlySet<Node>,
  layout: (node: Node) => readonly Axis[],
): boolean {
  if (!streamShape(consumer, scores, (node) => tiles.has(node))) return false
  if (isSoftmax(consumer)) {
    const { block } = consumer.attrs
    if (block % partials !== 0 || block > reductionBlock) return false
  }
  return isOp(consumer, 'logSumExp') || accumulates(consumer, scores, layout)
}

/** The contractions whose tiles the scores are made of. */
export function tileDots(scores: Node, isTile: (node: Node) => boolean): Node<'dot'>[] {
  const dots: Node<'dot'>[] = []
  const seen = new Set<Node>()
  const visit = (node: Node): void => {
    if (seen.has(node) || !isTile(node)) return
    seen.add(node)
    if (isOp(node, 'dot')) dots.push(node)
    else node.inputs.forEach(visit)
  }
  visit(scores)
  return dots
}

/** One operand runs along the rows of a tile and the other along its columns. */
function crosses(dot: Node, parallel: Axis, streamed: Axis): boolean {
  const [x, y] = dot.inputs as [Node, Node]
  const alone = (rows: Node, columns: Node): boolean =>
    rows.axes.includes(parallel) &&
    !rows.axes.includes(streamed) &&
    columns.axes.includes(streamed) &&
    !columns.axes.includes(parallel)
  return alone(x, y) || alone(y, x)
}

/** A row of results has a fixed width and lies in one piece. */
function accumulates(consumer: Consumer, scores: Node, layout: (node: Node) => readonly Axis[]): boolean {
  const lies = layout(consumer)
  const width = withoutAxes(lies, scores.axes)
  if (width.length === 0 || width.some((axis) => axis.extent !== undefined)) return false
  return width.every((axis, place) => axis === lies[lies.length - width.length + place])
}

/**
 * Rows of the parallel axis that go together. What is streamed is packed for each of them again, so threads share out the
 * rows only where the axes around do not feed them all.
 */
export function rowsTogether(parallel: number, others: number, threads: number): number {
  if (threads === 1) return Math.min(parallel, mostRows)
  if (others >= threads) return Math.min(parallel, mostRows / 2)
  return Math.min(parallel, mostRows, Math.max(fewestRows, Math.ceil((parallel * others) / threads)))
}

const mostRows = 128
const fewestRows = 16
