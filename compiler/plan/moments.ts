// What plans of transfers speak of: a timeline of moments, the ranges of tensors that they need, and in which order one thread
// brings and takes them. Arithmetic; knows neither kernels nor files.

import type { Lifetime } from './arena.ts'
import { requestSeconds } from './rates.ts'
import type { StorageRate } from './rates.ts'

/** Bytes `begin` … `end` − 1 of a tensor that changes. */
export interface Extent {
  readonly tensor: string
  readonly begin: number
  readonly end: number
}

/** Something that a moment of the timeline needs in memory. Equal keys are the same bytes. */
export interface RangeUse {
  readonly key: string
  /** What it takes in memory, and what is read or written of it. */
  readonly bytes: number
  readonly moment: number
  /** The moment changes it. */
  readonly isWritten?: boolean
  /** The use writes all of it and reads nothing. */
  readonly isFresh?: boolean
  /** Where it lies, when it is of a tensor that changes: `begin` … `end` − 1. */
  readonly extent?: Extent
  /** Requests to storage that bring it; 1 unless given. */
  readonly requests?: number
}

export interface Timeline {
  /** In the order of their moments. */
  readonly uses: readonly RangeUse[]
  /** Bytes alive at each moment without any range. */
  readonly live: readonly number[]
  /** How long each moment computes. */
  readonly seconds: readonly number[]
  /** Bytes that may be alive at any moment. */
  readonly budget: number
  readonly read: StorageRate
  readonly write: StorageRate
}

/** A range in memory from moment `start`, at which its reading may begin, to `end`, by which its writing is done. */
export interface PlannedRange {
  readonly key: string
  readonly bytes: number
  readonly start: number
  /** The moment that has to wait for it. */
  readonly first: number
  /** The last one that uses it: its writing may begin behind it. */
  readonly last: number
  readonly end: number
  /** It is brought before its first moment. */
  readonly isRead: boolean
  readonly isWritten: boolean
  readonly requests: number
}

export interface TransferPlan {
  /** In the order of their first moments; those that are read have starts that never decrease. */
  readonly ranges: readonly PlannedRange[]
  readonly readBytes: number
  readonly writtenBytes: number
  readonly computeSeconds: number
  /** What computing waits for storage, by this plan's own figures. */
  readonly stallSeconds: number
}

/** Bytes of the state that are kept, when so many moments are over. */
export interface KeptPiece {
  readonly from: number
  readonly bytes: number
  readonly after: number
}

/** One of a function's transfers, which are made in this order. */
export interface PlannedTransfer {
  readonly kind: 'read' | 'write' | 'keep'
  /** Position in the plan, or among the pieces that are kept. */
  readonly range: number
  /** Moments that must be over before it may begin. */
  readonly after: number
}

type RangeMove = PlannedTransfer & { readonly kind: 'read' | 'write' }

/** A range among values in memory. */
export function lifeOf({ bytes, start, end }: Pick<PlannedRange, 'bytes' | 'start' | 'end'>): Lifetime {
  return { bytes, first: start, last: end }
}

/** All reads and writes of a plan in an order that one thread can keep: what may begin first comes first. */
export function transfersOf(ranges: readonly PlannedRange[]): RangeMove[] {
  const transfers = ranges.flatMap(({ start, last, isRead, isWritten }, range): RangeMove[] => [
    ...(isRead ? [{ kind: 'read' as const, range, after: start }] : []),
    ...(isWritten ? [{ kind: 'write' as const, range, after: last + 1 }] : []),
  ])
  // Of two that may begin at one moment a write makes room, and may be of what is read next: its range comes first, as it was
  // used before, and sorting keeps that.
  return transfers.sort((a, b) => a.after - b.after)
}

/** For each moment how many of the transfers must be done before it: what it reads, and what was written from its memory. */
export function waitsOf(
  ranges: readonly PlannedRange[],
  transfers: readonly PlannedTransfer[],
  moments: number,
): Int32Array {
  const waits = new Int32Array(moments)
  transfers.forEach(({ kind, range }, place) => {
    // The end of the function waits for what is kept, and for everything.
    if (kind === 'keep') return
    const { first, end } = ranges[range] as PlannedRange
    const moment = kind === 'read' ? first : end + 1
    if (moment < moments) waits[moment] = Math.max(waits[moment] ?? 0, place + 1)
  })
  for (let moment = 1; moment < moments; moment++) {
    waits[moment] = Math.max(waits[moment] ?? 0, waits[moment - 1] ?? 0)
  }
  return waits
}

export interface Simulated {
  readonly computeSeconds: number
  readonly stallSeconds: number
  /** When each moment begins to compute. */
  readonly begins: readonly number[]
  /** What is moved, in its order, and when each is begun and done. */
  readonly transfers: readonly PlannedTransfer[]
  readonly begun: Float64Array
  readonly done: Float64Array
}

/** A function as it would run by the plan's own figures; with what is kept, its transfers are given. */
export function simulate(
  ranges: readonly PlannedRange[],
  { seconds, read, write }: Pick<Timeline, 'seconds' | 'read' | 'write'>,
  transfers: readonly PlannedTransfer[] = transfersOf(ranges),
  kept: readonly KeptPiece[] = [],
): Simulated {
  const waits = waitsOf(ranges, transfers, seconds.length)
  const over = new Float64Array(seconds.length + 1)
  const begins: number[] = []
  const begun = new Float64Array(transfers.length)
  const done = new Float64Array(transfers.length)
  let [now, free, stall, next] = [0, 0, 0, 0]
  const waitFor = (count: number): void => {
    if (next >= count) return
    for (; next < count; next++) {
      const { kind, range, after } = transfers[next] as PlannedTransfer
      begun[next] = Math.max(free, over[after] ?? 0)
      const { bytes, requests = 1 } = (kind === 'keep' ? kept : ranges)[range] as KeptPiece & { requests?: number }
      const taken = requestSeconds(bytes, kind === 'read' ? read : write, requests)
      free = (begun[next] as number) + taken
      done[next] = free
    }
    stall += Math.max(0, free - now)
    now = Math.max(now, free)
  }
  seconds.forEach((length, moment) => {
    waitFor(waits[moment] ?? 0)
    begins.push(now)
    now += length
    over[moment + 1] = now
  })
  waitFor(transfers.length)
  return { computeSeconds: now - stall, stallSeconds: stall, begins, transfers, begun, done }
}
