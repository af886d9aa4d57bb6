// A tile of scores at hand: some rows of a block against some columns of the streamed axis, and which of its places can matter
// where a mask compares positions.

import type { Directive } from '../kernel/directives.ts'
import { addIndex, ceilDivide, constantIndex, divideIndex, scaleIndex, variable } from '../kernel/index.ts'
import type { Index } from '../kernel/index.ts'
import type { LoopPart } from '../kernel/trimming.ts'
import { liveRange } from './live.ts'
import type { LiveRows, Rooms } from './live.ts'
import { partials } from './nest.ts'
import type { Env } from './scope.ts'

export interface Tile {
  /** First position of the block along the parallel axis, and how many rows it has. */
  readonly base: Index
  readonly blockRows: Index
  /** Of the rows from there those that see something of the columns. */
  readonly rows: LiveRows
  /** The same along the streamed axis, and how many columns a tile has at most. */
  readonly columnBase: Index
  readonly columnCount: Index
  readonly columns: number
  /** Places along the axes around the streamed one. */
  readonly outer: readonly Index[]
  readonly env: Env
  /** How far rows see along the streamed axis, and columns along the parallel one. */
  readonly rooms: Rooms
}

/** Columns of scores at a time where a mask leaves rows different ones: the fewest that still keep multiply-adds busy. */
const scorePiece = 32

/** Whether rows of a tile differ in what they see, and what reads scores keeps to that: `reach` places further at most. */
function isPartial({ after, before }: Rooms, reach: number): boolean {
  return Number.isFinite(reach) && (after !== undefined || before !== undefined)
}

/** Groups of columns that matter to a row or to rows near it; undefined where all do. */
export function liveGroups(tile: Tile, row: Index, reach: number): LoopPart | undefined {
  const { rooms, base, columnBase, columnCount } = tile
  if (!isPartial(rooms, reach)) return undefined
  const position = addIndex(base, row)
  const columns = { origin: columnBase, count: columnCount, whole: 1 }
  const near = { first: addIndex(position, -reach), last: addIndex(position, reach) }
  const { from, to } = liveRange(rooms, columns, near)
  return { from: divideIndex(from, partials), to: ceilDivide(to, partials) }
}

/** The rows that a nest makes scores of. */
export function scoreRows({ rooms, blockRows, rows }: Tile, reach: number): LiveRows {
  return isPartial(rooms, reach) ? { first: constantIndex(0), count: blockRows } : rows
}

/** What becomes of a nest that makes scores. */
export interface ScorePieces {
  readonly directives: readonly Directive[]
  /** What has become of the loop over columns. */
  readonly n: string
  readonly nBound: number
  /** Where a column of the nest is now. */
  readonly column: Index
}

/**
 * Where rows differ in what they see, scores are made for some columns at a time, of the rows that see some of them. `n` is the
 * loop over columns, `m` that over `scoreRows`.
 */
export function scorePieces(tile: Tile, n: string, m: string, reach: number): ScorePieces {
  const { rooms, base, blockRows, columnBase, columns } = tile
  if (!isPartial(rooms, reach)) {
    return { directives: [], n, nBound: columns, column: variable(n) }
  }
  const [piece, inner] = [`${n}h`, `${n}j`]
  const first = scaleIndex(variable(piece), scorePiece)
  const near = {
    first: addIndex(columnBase, first, -reach),
    last: addIndex(columnBase, first, scorePiece - 1 + reach),
  }
  const side = { origin: base, count: blockRows, whole: 1 }
  const live = liveRange({ after: rooms.before, before: rooms.after }, side, near)
  return {
    directives: [
      { do: 'split', loop: n, factor: scorePiece, outer: piece, inner, clip: true },
      { do: 'trim', loop: m, ...live },
    ],
    n: inner,
    nBound: scorePiece,
    column: addIndex(first, variable(inner)),
  }
}
