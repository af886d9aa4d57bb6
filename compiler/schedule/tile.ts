// The schedule of one multiply-add nest: a register tile of `rows` × `vectors` vectors, the vector operand packed into
// panels, the broadcast operand read in place where it lies well. The same for a whole contraction and for the small
// ones inside a streamed kernel.

import type { Directive } from '../kernel/directives.ts'
import { addIndex, constantIndex, scaleIndex, variable } from '../kernel/index.ts'
import type { Index } from '../kernel/index.ts'
import type { Condition } from '../kernel/ir.ts'
import { lineVariable, rowVariable } from '../kernel/prefetch.ts'
import type { PrefetchedLines } from '../kernel/prefetch.ts'
import { substitution } from '../kernel/rewrite.ts'
import type { ScheduleProfile, TileChoice, TileShape } from './profile.ts'

/** An element of memory: its place in the loops of the nest, and its bytes. */
export interface TileMemory {
  readonly buffer: string
  readonly indices: readonly Index[]
  readonly bytes: number
  /** Bytes of everything that is read in turn. */
  readonly total: number
}

export interface TileNest {
  readonly accumulator: string
  /** Vector direction, its bound, and the operand of the multiply-add that varies along it. */
  readonly n: string
  readonly nBound: number
  readonly vectorOperand: 0 | 1
  /** Broadcast direction and its bound. */
  readonly m: string
  readonly mBound: number
  /** Loops of the chain, outermost first, their bounds, and the product of these. */
  readonly k: readonly string[]
  readonly kBounds: readonly number[]
  readonly kBound: number
  /** Loops between the vector direction's blocks and `m`. */
  readonly between: readonly string[]
  /** The chain's innermost loop is contiguous in the vector operand, so packing transposes. */
  readonly transposes: boolean
  /** The vector operand is loaded by vectors where it lies, and nothing bounds its direction but a constant. */
  readonly readable: boolean
  /** The broadcast operand is worked out while it is copied; `contiguous` when its copy may go by vectors. */
  readonly packBroadcast: 'no' | 'yes' | 'contiguous'
  /** The vector operand's element, where it is a plain load of memory whose size is known. */
  readonly memory?: TileMemory
  /** The same of the operand that is broadcast, where it lies along the chain. */
  readonly broadcastMemory?: TileMemory
  /** The vector direction's blocks go to threads; pieces of `m` join them when that leaves too few. */
  readonly grid: { readonly others: number } | undefined
}

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to

/** Names that `tileDirectives` makes from a loop `n`: blocks, panels; and from `m`: pieces for threads, tiles. */
export const blockOf = (n: string): string => `${n}b`

/** A nest as a search knows it: equal names have equal loops and operands that lie alike. */
export function tileName({ mBound, nBound, kBound, transposes, packBroadcast, grid, memory }: TileNest): string {
  const shape = `${mBound}x${nBound}x${kBound}${grid && grid.others > 1 ? ` of ${grid.others}` : ''}`
  const vector = `${transposes ? 'across' : 'along'}${memory ? ` ${memory.bytes}` : ''}`
  return `${shape} ${vector}${packBroadcast === 'no' ? '' : ` ${packBroadcast === 'yes' ? 'computed' : 'widened'}`}`
}

export function tileDirectives(nest: TileNest, profile: ScheduleProfile): Directive[] {
  const { n, m, accumulator } = nest
  const { lanes } = profile
  const streamed = streamedVectors(nest, profile)
  const choice =
    streamed === undefined
      ? (profile.choices?.[tileName(nest)] ?? chooseTile(nest, profile))
      : wholeRows(nest, streamed, profile)
  const panel = choice.vectors * lanes
  const block = panel * choice.panels
  const piece = roundUp(Math.ceil(nest.mBound / choice.pieces), choice.rows)
  const cutM = nest.grid !== undefined && piece < nest.mBound
  const cutK = chainedLoop(nest, choice.steps)

  const [n0, n1, n2, n3] = [blockOf(n), `${n}i`, `${n}p`, `${n}q`]
  const [mb, mi, m0, m1] = [`${m}b`, `${m}i`, `${m}t`, `${m}r`]
  const [n4, lane] = [`${n}v`, `${n}l`]
  const inner = cutM ? mi : m
  const kb = cutK && `${cutK.loop}b`
  const k = nest.k.map((name) => (name === cutK?.loop ? `${name}i` : name))
  const grid = [n0, ...(cutM ? [mb] : [])]
  const tiles = [...nest.between, m0, n2, m1, n3]
  return [
    { do: 'split', loop: n, factor: panel, outer: n1, inner: n3 },
    { do: 'split', loop: n1, factor: block / panel, outer: n0, inner: n2, clip: true },
    ...(cutM ? [{ do: 'split', loop: m, factor: piece, outer: mb, inner: mi } as const] : []),
    { do: 'split', loop: inner, factor: choice.rows, outer: m0, inner: m1 },
    { do: 'reorder', loops: [...grid, ...tiles] },
    ...(cutK && kb !== undefined
      ? [
          {
            do: 'chain',
            loop: cutK.loop,
            factor: cutK.factor,
            outer: kb,
            inner: `${cutK.loop}i`,
            accumulator,
            into: `${accumulator}_c`,
            order: tiles,
          } as const,
          { do: 'reorder', loops: [...grid, kb, ...tiles] } as const,
        ]
      : []),
    ...(nest.grid ? grid.map((loop) => ({ do: 'bind', loop, binding: 'grid' }) as const) : []),
    ...(streamed === undefined
      ? [
          {
            do: 'stage',
            into: `${accumulator}_b`,
            operand: nest.vectorOperand,
            accumulator,
            at: kb ?? (cutM ? mb : n0),
            order: [n2, ...k, n3],
            fast: nest.transposes ? (k.at(-1) ?? n3) : n3,
            lanes,
          } as const,
        ]
      : []),
    ...(nest.packBroadcast === 'no'
      ? []
      : [
          {
            do: 'stage',
            into: `${accumulator}_a`,
            operand: nest.vectorOperand === 1 ? 0 : 1,
            accumulator,
            at: m0,
            order: [m1, ...k],
            fast: k.at(-1) ?? m1,
            lanes: nest.packBroadcast === 'yes' ? 1 : lanes,
          } as const,
        ]),
    { do: 'distribute', loop: n3 },
    { do: 'distribute', loop: m1 },
    kb === undefined
      ? { do: 'unguard', buffers: [accumulator] }
      : { do: 'unguard', buffers: [accumulator, `${accumulator}_c`], keep: kb },
    { do: 'reorder', loops: [...k, m1, n3] },
    ...(streamed === undefined
      ? aheadDirectives(nest, profile, {
          block,
          rows: choice.rows,
          steps: cutK?.factor ?? nest.kBound,
          panels: n2,
          tiles: m0,
          pieces: kb,
          firstRow: cutM ? scaleIndex(variable(mb), piece) : constantIndex(0),
        })
      : []),
    { do: 'split', loop: n3, factor: lanes, outer: n4, inner: lane },
    { do: 'bind', loop: lane, binding: 'lane' },
    { do: 'bind', loop: n4, binding: 'unroll' },
    { do: 'bind', loop: m1, binding: 'unroll' },
  ]
}

interface Blocks {
  /** Columns of a block, rows of a tile, and steps of a piece of the chain. */
  readonly block: number
  readonly rows: number
  readonly steps: number
  /** Loops over blocks' panels, tiles, and pieces where the chain goes by such. */
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
function aheadDirectives(nest: TileNest, profile: ScheduleProfile, blocks: Blocks): Directive[] {
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
    const thisBlock = variable(blockOf(n))
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

/** Of the shapes that fit the registers, the one that computes least beyond the edges; the first of equals. */
function shapeOf({ mBound, nBound }: TileNest, { lanes, tile, otherTiles = [] }: ScheduleProfile): TileShape {
  const narrowed = ({ rows, vectors }: TileShape): TileShape => {
    const needed = Math.min(vectors, Math.ceil(nBound / lanes))
    return { rows: Math.min(mBound, rows * Math.floor(vectors / needed)), vectors: needed }
  }
  const executed = ({ rows, vectors }: TileShape): number => roundUp(mBound, rows) * roundUp(nBound, vectors * lanes)
  return otherTiles
    .map(narrowed)
    .reduce((best, shape) => (executed(shape) < executed(best) ? shape : best), narrowed(tile))
}

/** Columns of a packed block at most: what is broadcast is read once for each block. */
const widestBlock = 256
const mostWaitingRows = 512

/** A choice by rule: a packed block, the one behind it and what is broadcast share the private cache. */
function chooseTile(nest: TileNest, profile: ScheduleProfile): TileChoice {
  const { lanes, privateCache, threads } = profile
  const shape = shapeOf(nest, profile)
  const panel = shape.vectors * lanes
  const steps = stepsOf(nest.kBound, Math.floor(privateCache / 16 / (4 * panel)), lanes)
  const panelsThatFit = Math.max(1, Math.floor(privateCache / 4 / (4 * steps * panel)))
  const needed = Math.ceil(nest.nBound / panel)
  // Blocks of equally many panels: what a block has beyond the last column is worked out for nothing.
  const wanted = nest.grid && threads > 1 ? 4 * threads : 1
  const others = nest.grid?.others ?? 1
  const most = Math.max(4, Math.floor(widestBlock / panel))
  const blocks = Math.max(
    Math.ceil(needed / Math.min(most, panelsThatFit)),
    Math.min(needed, Math.ceil(wanted / others)),
  )
  const panels = blockPanels(needed, Math.ceil(needed / blocks))
  const items = Math.ceil(needed / panels) * others
  // What waits between pieces of chains takes room for each row.
  const bands = steps < nest.kBound ? Math.ceil(nest.mBound / mostWaitingRows) : 1
  return { ...shape, panels, steps, pieces: Math.max(items < wanted ? Math.ceil(wanted / items) : 1, bands) }
}

/** Panels of a block: about `most`, such that blocks are equal where more than half of it allows that. */
function blockPanels(needed: number, most: number): number {
  for (let panels = most; panels > most / 2; panels--) if (needed % panels === 0) return panels
  return Math.ceil(needed / Math.ceil(needed / most))
}

/** Steps of a piece of a chain: about `most`, such that pieces are equal where whole vectors allow it. */
function stepsOf(kBound: number, most: number, lanes: number): number {
  const least = Math.ceil(kBound / Math.max(lanes, most))
  if (least <= 1) return kBound
  for (let pieces = least; pieces < 2 * least; pieces++) {
    if (kBound % pieces === 0 && (kBound / pieces) % lanes === 0) return kBound / pieces
  }
  return roundUp(Math.ceil(kBound / least), lanes)
}

/** The outermost loop of the chain that has iterations, and how many of them are `steps` steps; undefined for all. */
function chainedLoop({ k, kBounds, kBound }: TileNest, steps: number): { loop: string; factor: number } | undefined {
  if (steps >= kBound) return undefined
  const place = kBounds.findIndex((bound) => bound > 1)
  const loop = k[place]
  const bound = kBounds[place]
  if (loop === undefined || bound === undefined) return undefined
  const factor = Math.max(1, Math.floor(steps / (kBound / bound)))
  return factor < bound ? { loop, factor } : undefined
}

function wholeRows({ mBound, nBound, kBound, grid }: TileNest, vectors: number, profile: ScheduleProfile): TileChoice {
  const items = Math.ceil(nBound / (vectors * profile.lanes)) * (grid?.others ?? 1)
  const wanted = profile.threads > 1 ? 4 * profile.threads : 1
  return { rows: mBound, vectors, panels: 1, steps: kBound, pieces: items < wanted ? Math.ceil(wanted / items) : 1 }
}

/** Vectors of a row that are read together at most: enough chains to hide the latency of a multiply-add. */
const mostStreamed = 8

/**
 * A few rows, one token's say, read the vector operand once: copying it would only cost. How many vectors of it they take
 * side by side; undefined where a copy pays, or the operand cannot be read where it lies.
 */
function streamedVectors(nest: TileNest, { lanes, tile }: ScheduleProfile): number | undefined {
  if (!nest.readable || !nest.grid || nest.mBound > tile.rows) return undefined
  const registers = Math.floor((tile.rows * tile.vectors) / nest.mBound)
  for (let vectors = Math.min(mostStreamed, registers); vectors > 0; vectors--) {
    if (nest.nBound % (vectors * lanes) === 0) return vectors
  }
  return undefined
}
