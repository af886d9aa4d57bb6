// The schedule of one multiply-add nest: a register tile of `rows` × `vectors` vectors, the vector operand packed into
// panels, the broadcast operand read in place where it lies well. The same for a whole contraction and for the small
// ones inside a streamed kernel.

import type { Directive } from '../kernel/directives.ts'
import { constantIndex, scaleIndex, variable } from '../kernel/index.ts'
import { aheadDirectives } from './ahead.ts'
import { laneDirectives } from './byLane.ts'
import type { ScheduleProfile } from './profile.ts'
import { roundUp } from './tileChoice.ts'
import type { ChosenTile } from './tileChoice.ts'
import type { TileNest } from './tileNest.ts'

/** Names that `tileDirectives` makes from a loop `n`: blocks, panels; and from `m`: pieces for threads, tiles. */
export const blockOf = (n: string): string => `${n}b`

export function tileDirectives(nest: TileNest, choice: ChosenTile, profile: ScheduleProfile): Directive[] {
  const { n, m, accumulator } = nest
  const { lanes } = profile
  const panel = choice.vectors * lanes
  const block = panel * choice.panels
  const piece = pieceRows(nest, choice)
  const cutM = nest.grid !== undefined && piece < nest.mBound
  const cutK = chainedLoop(nest, Math.min(choice.steps, nest.phaseSteps ?? choice.steps))

  const [n0, n1, n2, n3] = [blockOf(n), `${n}i`, `${n}p`, `${n}q`]
  const [mb, mi, m0, m1] = [`${m}b`, `${m}i`, `${m}t`, `${m}r`]
  const [n4, lane] = [`${n}v`, `${n}l`]
  const inner = cutM ? mi : m
  const kb = cutK && `${cutK.loop}b`
  const k = nest.k.map((name) => (name === cutK?.loop ? `${name}i` : name))
  const blocks = cutM ? (nest.shardRows === undefined ? [n0, mb] : [mb, n0]) : [n0]
  const innermostBlock = blocks.at(-1) as string
  const tiles = [...nest.between, m0, n2, m1, n3]
  const broadcastOperand = nest.vectorOperand === 1 ? 0 : 1
  const innermost = k.at(-1)
  return [
    { do: 'split', loop: n, factor: panel, outer: n1, inner: n3 },
    { do: 'split', loop: n1, factor: block / panel, outer: n0, inner: n2, clip: true },
    ...(cutM ? [{ do: 'split', loop: m, factor: piece, outer: mb, inner: mi } as const] : []),
    { do: 'split', loop: inner, factor: choice.rows, outer: m0, inner: m1 },
    { do: 'reorder', loops: [...blocks, ...tiles] },
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
          { do: 'reorder', loops: [...blocks, kb, ...tiles] } as const,
        ]
      : []),
    ...(nest.grid ? blocks.map((loop) => ({ do: 'bind', loop, binding: 'grid' }) as const) : []),
    ...(choice.packs
      ? [
          {
            do: 'stage',
            into: `${accumulator}_b`,
            operand: nest.vectorOperand,
            accumulator,
            at: kb ?? innermostBlock,
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
            operand: broadcastOperand,
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
    ...trims(nest, choice.rows, m0, k),
    ...(choice.packs
      ? aheadDirectives(nest, profile, {
          block,
          rows: choice.rows,
          steps: cutK?.factor ?? nest.kBound,
          blocks: n0,
          panels: n2,
          tiles: m0,
          pieces: kb,
          firstRow: cutM ? scaleIndex(variable(mb), piece) : constantIndex(0),
        })
      : []),
    ...(innermost === undefined
      ? []
      : laneDirectives(
          { accumulator, operand: broadcastOperand, k: innermost, rows: m1, count: choice.rows },
          nest,
          profile,
        )),
    { do: 'split', loop: n3, factor: lanes, outer: n4, inner: lane },
    { do: 'bind', loop: lane, binding: 'lane' },
    { do: 'bind', loop: n4, binding: 'unroll' },
    { do: 'bind', loop: m1, binding: 'unroll' },
    ...(nest.phaseSteps !== undefined && nest.grid && kb !== undefined
      ? [{ do: 'phase', loop: kb, keeping: [`${accumulator}_c`] } as const]
      : []),
  ]
}

/** Rows of a piece of `m`: whole tiles, and no more than may be in memory where the result goes to storage. */
function pieceRows({ mBound, shardRows = mBound }: TileNest, { rows, pieces }: ChosenTile): number {
  const wanted = roundUp(Math.ceil(mBound / pieces), rows)
  return Math.max(rows, Math.min(wanted, shardRows < mBound ? shardRows - (shardRows % rows) : wanted))
}

/** Leaves out what the rows of a tile have no use for, where the chain is one loop that is not cut. */
function trims({ live, k }: TileNest, rows: number, tiles: string, inner: readonly string[]): Directive[] {
  const [loop] = k
  if (!live || loop === undefined || k.length > 1 || inner[0] !== loop) return []
  return [{ do: 'trim', loop, ...live(scaleIndex(variable(tiles), rows), rows) }]
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
