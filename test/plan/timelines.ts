// Random timelines of what moments need of tensors, changed and unchanged ones, and what a plan's transfers make of memory and
// storage then. Only for tests.

import fc from 'fast-check'
import { alignment, placeInArena } from '../../compiler/plan/arena.ts'
import type { Arena, Lifetime } from '../../compiler/plan/arena.ts'
import { lifeOf, transfersOf, waitsOf } from '../../compiler/plan/moments.ts'
import type { PlannedRange, RangeUse, Timeline, TransferPlan } from '../../compiler/plan/moments.ts'
import type { MovedRange, MovedUse, Moves } from './moves.ts'

export interface RandomTimeline extends Timeline {
  /** Units of each tensor. */
  readonly tensors: ReadonlyMap<string, number>
  /** Which units of which tensor a range has. */
  readonly ranges: ReadonlyMap<string, { readonly tensor: string; readonly units: readonly number[] }>
  /** What is alive besides, one lifetime each. */
  readonly values: readonly { readonly bytes: number; readonly first: number; readonly last: number }[]
}

const TENSORS = 3
const PIECES = 5
const MOMENTS = 40

interface Piece {
  readonly from: number
  readonly length: number
  /** Single rows anywhere in the tensor. */
  readonly isNamed: boolean
}

const piece = fc.record({
  from: fc.nat(9),
  length: fc.integer({ min: 1, max: 10 }),
  isNamed: fc.nat(3).map((n) => n === 0),
})

const drawn = fc.record({
  moments: fc.integer({ min: 1, max: MOMENTS }),
  tensors: fc.array(fc.record({ units: fc.integer({ min: 1, max: 10 }), changes: fc.boolean() }), { minLength: TENSORS, maxLength: TENSORS }),
  pieces: fc.array(fc.array(piece, { minLength: PIECES, maxLength: PIECES }), { minLength: TENSORS, maxLength: TENSORS }),
  wanted: fc.array(fc.tuple(fc.nat(MOMENTS - 1), fc.nat(TENSORS - 1), fc.nat(PIECES - 1), fc.nat(4)), { maxLength: 90, size: 'max' }),
  values: fc.array(fc.tuple(fc.nat(MOMENTS - 1), fc.nat(9), fc.integer({ min: 1, max: 4 })), { maxLength: 12 }),
  budget: fc.nat(40),
  seconds: fc.nat(3),
  writing: fc.constantFrom(0.2, 1, 3),
}) // prettier-ignore

/** Of a tensor that changes a moment has one range at most, perhaps more than once. */
export const timelines = drawn.map(({ moments, tensors, pieces, wanted, values, budget, seconds, writing }): RandomTimeline => {
  const ranges = new Map<string, { tensor: string; units: number[] }>()
  const chosen = new Map<string, number>()
  const uses = wanted
    .filter(([moment]) => moment < moments)
    .sort((a, b) => a[0] - b[0])
    .flatMap(([moment, tensor, place, kind]): RangeUse[] => {
      const { units, changes } = tensors[tensor] as (typeof tensors)[number]
      const { from, length, isNamed } = (pieces[tensor] as Piece[])[place] as Piece
      const key = `tensor ${tensor} piece ${place}`
      const at = `${tensor} ${moment}`
      if (changes && (chosen.get(at) ?? place) !== place) return []
      const begin = from % units
      const all = Array.from({ length: Math.min(length, units - begin) }, (_, unit) => begin + unit)
      const some = all.filter((unit) => isNamed && (unit * 7 + place) % 3 !== 0)
      const own = some.length > 0 ? some : all
      chosen.set(at, place)
      ranges.set(key, { tensor: `${tensor}`, units: own })
      const common = { key, bytes: own.length * alignment, moment, ...(isNamed ? { requests: own.length } : {}) }
      if (!changes) return [common]
      const extent = isNamed ? { begin: 0, end: units } : { begin, end: begin + all.length }
      const use = { ...common, extent: { tensor: `${tensor}`, ...extent } }
      const fresh = { ...use, isWritten: true, isFresh: true }
      // Read; changed; written anew; read and changed by two arguments; read by one and written by the other.
      return [[use], [{ ...use, isWritten: true }], [fresh], [use, { ...use, isWritten: true }], [fresh, use]][kind] ?? []
    })
  const lives = values
    .filter(([first]) => first < moments)
    .map(([first, length, units]) => ({ bytes: units * alignment, first, last: Math.min(first + length, moments - 1) }))
  return {
    uses,
    live: Array.from({ length: moments }, (_, moment) => sumBytes(lives.filter((one) => one.first <= moment && moment <= one.last))),
    seconds: Array.from({ length: moments }, (_, moment) => (seconds * (1 + (moment % 3))) / 10),
    budget: budget * alignment,
    read: { bytesPerSecond: 1000, latencySeconds: 0.01 },
    write: { bytesPerSecond: 1000 / writing, latencySeconds: 0.02 },
    tensors: new Map(tensors.map(({ units }, tensor) => [`${tensor}`, units])),
    ranges,
    values: lives,
  }
}) // prettier-ignore

export function sumBytes(all: readonly { readonly bytes: number }[]): number {
  return all.reduce((sum, { bytes }) => sum + bytes, 0)
}

/** Values, then ranges, for as long as a plan has them in memory. */
export function livesOf({ values }: Pick<RandomTimeline, 'values'>, { ranges }: TransferPlan): Lifetime[] {
  return [...values, ...ranges.map(lifeOf)]
}

/** What the plan makes of memory in which everything has a place for exactly as long as the plan says. */
export function movesOf(
  timeline: RandomTimeline,
  plan: TransferPlan,
  arena: Arena = placeInArena(livesOf(timeline, plan)),
): Moves {
  const { uses, values, seconds } = timeline
  const { ranges } = plan
  const offset = (place: number): number => (arena.offsets[place] as number) / alignment
  const moved = ranges.map(({ key }, place): MovedRange => {
    const { tensor, units } = timeline.ranges.get(key) as { tensor: string; units: number[] }
    return { tensor, units, offset: offset(values.length + place) }
  })
  const transfers = transfersOf(ranges)
  const waits = waitsOf(ranges, transfers, seconds.length)
  return {
    tensors: new Map([...timeline.tensors].map(([name, units]) => [name, { units, hasVersions: false }])),
    memory: arena.peak / alignment,
    values: values.map(({ bytes, first, last }, place) => {
      return { label: `value ${place}`, offset: offset(place), units: bytes / alignment, first, last }
    }),
    transfers: transfers.map(({ kind, range, after }) => ({ kind, range: moved[range] as MovedRange, after })),
    moments: seconds.map((_, moment) => ({
      waits: waits[moment] as number,
      uses: uses
        .filter((use) => use.moment === moment)
        .map((use): MovedUse => {
          const range = moved[ranges.findIndex((one) => isOf(one, use))] as MovedRange
          return { range, isRead: use.isFresh !== true, isWritten: use.isWritten === true }
        }),
    })),
  }
}

/** Whether a range is there for a use. */
export function isOf({ key, first, last }: PlannedRange, use: RangeUse): boolean {
  return key === use.key && first <= use.moment && use.moment <= last
}
