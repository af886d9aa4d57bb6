// When a gradient joins a stream that walks its scores the other way round: of attention, that of the queries joins those of
// keys and values. Its sums then go on from one block of rows to the next, so the blocks follow one another, and its rows all
// have room in scratch; in exchange the scores and their cotangents are made once instead of twice.

import { elementCount, sameAxes, withoutAxes } from '../graph/axis.ts'
import type { Axis } from '../graph/axis.ts'
import { isOp } from '../graph/node.ts'
import type { Declaration, Node } from '../graph/node.ts'
import type { ScheduleProfile } from './profile.ts'
import { tileDots } from './scores.ts'
import type { StreamShape } from './scores.ts'

/** Bytes that sums of one thread may keep between blocks: they are read and written once for each pair of blocks. */
const mostKept = 2 ** 20

/** Whether `other` goes along the rows of `host`, in order, for what is one column of it. */
export function crosses(host: StreamShape, other: StreamShape): boolean {
  return (
    other.outer.length === 0 &&
    other.streamed === host.parallel &&
    other.parallel === host.streamed &&
    sameAxes(other.grid, [...host.grid, ...host.outer])
  )
}

export interface Crossing {
  readonly host: StreamShape
  /** The contraction that would join, and its scores. */
  readonly node: Node
  readonly scores: Node
  readonly isTile: (node: Node) => boolean
  readonly declaration: (name: string) => Declaration | undefined
}

/** Whether crossing pays: threads have enough without the blocks of rows, and what is kept stays near. */
export function paysToCross({ host, node, scores, isTile, declaration }: Crossing, profile: ScheduleProfile): boolean {
  const { threads, wholeBlocks } = profile
  const others = elementCount(host.grid)
  const isShared = others % threads === 0 || others >= 4 * threads
  if (wholeBlocks === true || !isShared || 4 * elementCount(withoutAxes(node.axes, host.grid)) > mostKept) return false
  // Rows of a declared value may come by ranges: then the launch is cut between them, which only a grid can be.
  const operands = [...tileDots(scores, isTile).flatMap((dot) => dot.inputs), ...node.inputs]
  return !operands.some((operand) => isOp(operand, 'read') && liesBy(declaration(operand.attrs.name), host.parallel))
}

const liesBy = (declared: Declaration | undefined, axis: Axis): boolean => declared?.stored.flat()[0] === axis
