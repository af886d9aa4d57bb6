// Offsets for buffers with lifetimes in one block of memory, and how good they are: the largest sum of live bytes is what
// no placement can do without. How they are found is the search's business.

import { LowestFit } from './lowestFit.ts'
import type { Buffers } from './lowestFit.ts'
import { searchPlacement } from './placementSearch.ts'

/** A buffer that must exist from launch `first` to launch `last`, inclusive. */
export interface Lifetime {
  readonly bytes: number
  readonly first: number
  readonly last: number
}

export interface Arena {
  /** Offset of each buffer, in the order given. */
  readonly offsets: readonly number[]
  /** Bytes of the block. */
  readonly peak: number
  /** Largest sum of bytes alive at one launch: no placement needs less. */
  readonly lowerBound: number
}

export type Placing = (lifetimes: readonly Lifetime[]) => Arena

/** Every buffer starts at a multiple of this: a cache line, and the widest vector. */
export const alignment = 64

export function align(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment
}

/** A placement this close to the lower bound is not looked at again. */
const GOOD = 1.005

/** Places all buffers; within 2 % of the lower bound on every program in the repository (a test holds it to that). */
export function placeInArena(lifetimes: readonly Lifetime[]): Arena {
  if (lifetimes.length === 0) return { offsets: [], peak: 0, lowerBound: 0 }
  const buffers = buffersOf(lifetimes)
  const profile = liveProfile(buffers)
  const lowerBound = Math.max(...profile.live)
  const { offsets, peak } = searchPlacement(buffers, contentionOf(buffers, profile), lowerBound * GOOD)
  return { offsets: [...offsets], peak, lowerBound }
}

/** What no placement can do better than, without one: for asking whether it is worth trying. */
export function unplaced(lifetimes: readonly Lifetime[]): Arena {
  const lowerBound = mostAlive(lifetimes)
  return { offsets: lifetimes.map(() => 0), peak: lowerBound, lowerBound }
}

/**
 * Buffers that have places, all brought down as far as they go, the lowest first. None goes up: what lies below it at its time ends
 * below its old place.
 */
export function settled(lifetimes: readonly Lifetime[], offsets: readonly number[]): Arena {
  const order = Int32Array.from(offsets.keys()).sort((a, b) => (offsets[a] as number) - (offsets[b] as number))
  const { offsets: lower, peak } = new LowestFit(buffersOf(lifetimes)).place(order)
  return { offsets: [...lower], peak, lowerBound: mostAlive(lifetimes) }
}

/** Largest sum of bytes alive at one moment. */
function mostAlive(lifetimes: readonly Lifetime[]): number {
  return lifetimes.length === 0 ? 0 : Math.max(...liveProfile(buffersOf(lifetimes)).live)
}

function buffersOf(lifetimes: readonly Lifetime[]): Buffers {
  return {
    count: lifetimes.length,
    bytes: Float64Array.from(lifetimes, ({ bytes }) => align(bytes)),
    first: Int32Array.from(lifetimes, ({ first }) => first),
    last: Int32Array.from(lifetimes, ({ last }) => last),
  }
}

/** Bytes alive from each moment at which they change to the next. */
interface LiveProfile {
  readonly moments: readonly number[]
  readonly live: readonly number[]
}

function liveProfile({ count, bytes, first, last }: Buffers): LiveProfile {
  const changes = new Map<number, number>()
  const change = (moment: number, by: number): unknown => changes.set(moment, (changes.get(moment) ?? 0) + by)
  for (let index = 0; index < count; index++) {
    change(first[index] as number, bytes[index] as number)
    change((last[index] as number) + 1, -(bytes[index] as number))
  }
  const moments = [...changes.keys()].sort((a, b) => a - b)
  let sum = 0
  return { moments, live: moments.map((moment) => (sum += changes.get(moment) as number)) }
}

/** Of each buffer the greatest sum of live bytes in its life, as a share of the greatest of all: how tight its time is. */
function contentionOf({ count, first, last }: Buffers, { moments, live }: LiveProfile): Float64Array {
  const place = new Map(moments.map((moment, at) => [moment, at]))
  const greatest = Math.max(...live)
  return Float64Array.from({ length: count }, (_, index) => {
    const end = last[index] as number
    let most = 0
    for (let at = place.get(first[index] as number) as number; (moments[at] as number) <= end; at++) {
      most = Math.max(most, live[at] as number)
    }
    return most / greatest
  })
}
