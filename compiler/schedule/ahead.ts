// What is asked of memory ahead of time: the block behind the one that is packed, and the rows behind the tile.

import type { Directive } from '../kernel/directives.ts'
import { addIndex, constantIndex, scaleIndex, variable } from '../kernel/index.ts'
import type { Index } from '../kernel/index.ts'
import type { Condition } from '../kernel/ir.ts'
import { lineVariable, rowVariable } from '../kernel/prefetch.ts'
import type { PrefetchedLines } from '../kernel/prefetch.ts'
import { substitution } from '../kernel/rewrite.ts'
import type { ScheduleProfile } from './profile.ts'
import type { TileMemory, TileNest } from './tileNest.ts'

/** How the schedule cut the nest. */
export interface Blocks {
  /** Columns of a block, rows of a tile, and steps of a piece of the chain. */
  readonly block: number
  readonly rows: number
  readonly steps: number
  /** Loops over blocks, their panels, tiles, and pieces where the chain goes by such. */
  readonly blocks: string
  readonly panels: string
  readonly tiles: string
  readonly pieces: string | undefined
  /** Place of the first tile's first row. */
  readonly firstRow: Index
}

const lineBytes = 64
/** Steps of the chain that come between two calls. */
const groupSteps = 16

/** What is read next is called into the cache meanwhile: the block behind the one that is packed, and the tile behind. */
export function aheadDirectives(nest: TileNest, profile: ScheduleProfile, blocks: Blocks): Directive[] {
  const { n, m, k, kBounds, kBound, memory, broadcastMemory, transposes, between } = nest
  const { block, rows, steps, panels, tiles, pieces, firstRow } = blocks
  const [loop, ...others] = k.filter((_, place) => (kBounds[place] ?? 0) > 1)
  if (profile.fetchesAhead !== true || loop === undefined || others.length > 0 || between.length > 0) return []
  const chain = pieces === undefined ? loop : `${loop}i`
  const piece = pieces === undefined ? constantIndex(0) : variable(pieces)
  const element = ({ indices }: TileMemory, across: string, place: Index, pieceIndex: Index, step: Index): Index[] => {
    const at = substitution(
      new Map([
        ...k.map((name): [string, Index] => [name, constantIndex(0)]),
        [across, place],
        [loop, addIndex(scaleIndex(pieceIndex, steps), step)],
      ]),
    )
    return indices.map((index) => at.index?.(index) ?? index)
  }
  const isLarge = (operand: TileMemory): boolean => operand.total > profile.privateCache
  const of: PrefetchedLines[] = []
  if (memory && isLarge(memory)) {
    const perLine = lineBytes / memory.bytes
    const [row, line] = [variable(rowVariable), scaleIndex(variable(lineVariable), perLine)]
    const [column, step] = transposes ? [row, line] : [line, row]
    const at = (blockIndex: Index, pieceIndex: Index): Index[] =>
      element(memory, n, addIndex(scaleIndex(blockIndex, block), column), pieceIndex, step)
    const thisBlock = variable(blocks.blocks)
    const nextBlock = addIndex(thisBlock, 1)
    const last = constantIndex(Math.ceil(kBound / steps) - 1)
    const when = (left: Index, right: Index): Condition[] => [{ left, right }]
    of.push({
      buffer: memory.buffer,
      places:
        pieces === undefined
          ? [{ conditions: [], indices: at(nextBlock, constantIndex(0)) }]
          : [
              { conditions: when(piece, last), indices: at(thisBlock, addIndex(piece, 1)) },
              { conditions: when(addIndex(last, -1), piece), indices: at(nextBlock, constantIndex(0)) },
            ],
      rows: transposes ? block : steps,
      lines: Math.ceil((transposes ? steps : block) / perLine),
      share: [tiles, panels],
    })
  }
  if (broadcastMemory && isLarge(broadcastMemory)) {
    const perLine = lineBytes / broadcastMemory.bytes
    const next = addIndex(firstRow, scaleIndex(addIndex(variable(tiles), 1), rows), variable(rowVariable))
    const step = scaleIndex(variable(lineVariable), perLine)
    of.push({
      buffer: broadcastMemory.buffer,
      places: [{ conditions: [], indices: element(broadcastMemory, m, next, piece, step) }],
      rows,
      lines: Math.ceil(steps / perLine),
      share: [panels],
    })
  }
  return of.length === 0 ? [] : [{ do: 'prefetch', chain, group: groupSteps, of }]
}
