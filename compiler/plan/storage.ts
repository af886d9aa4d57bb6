// Where tensors are while a function runs that need not be in memory: kept there all the time, or brought by ranges into the
// arena. Cuts launches into parts, plans the transfers and gives each range its place beside the intermediate values.

import { InternalError } from '../diagnostic.ts'
import type { Kernel } from '../kernel/ir.ts'
import type { LoweredRegion } from '../schedule/lowering.ts'
import { align } from './arena.ts'
import { Costs } from './costs.ts'
import { cutLaunch } from './parts.ts'
import type { CutPart, PartUse, StreamedArgument } from './parts.ts'
import type { Program, TensorPlace } from './program.ts'
import { planTransfers } from './transfers.ts'
import type { MemoryFor } from './transfers.ts'
import { keptPieces, withKept } from './keeping.ts'
import type { CarriedPlace } from './keeping.ts'
import { simulate, transfersOf } from './moments.ts'
import type { KeptPiece, PlannedRange, PlannedTransfer, RangeUse, TransferPlan } from './moments.ts'
import type { Rates, StorageRate } from './rates.ts'

export interface StorageOptions {
  /** Bytes that a part of a launch needs of one tensor at most, where its kernel allows that. */
  readonly shardBytes: number
  /** Smaller tensors are in memory all the time: at least scalars, and none of which rows are named. */
  readonly residentBytes: number
  /** Trained values, sums of gradients and the optimizer's state may lie in storage, not only frozen tensors. */
  readonly state?: boolean
  /** Bytes for the arena, the frozen tensors in memory and the state there, by what else the program needs. */
  readonly limit: (needs: ProgramNeeds) => number
  /** What the statement of a program itself takes of that: it grows with the ranges. Nothing unless given. */
  readonly tableBytes?: (program: Program) => number
  readonly read: StorageRate
  /** Until it is on the medium; as reading unless given. */
  readonly write?: StorageRate
  readonly compute: Rates
}

/** What of a program's memory is known before anything is placed. */
export interface ProgramNeeds {
  readonly inputBytes: number
  readonly kernels: readonly Kernel[]
}

/** The launches of a function on a finer timeline: one moment for each part. */
export interface CutLaunch {
  /** Its first moment and its last. */
  readonly first: number
  readonly last: number
  /** Undefined where it needs no ranges from storage: one moment. */
  readonly parts: readonly CutPart[] | undefined
}

/** An argument of rows that ids name, one after the other in memory. */
export interface NamedArgument {
  readonly tensor: TensorPlace
  /** Of the whole tensor. */
  readonly tensorBytes: number
  readonly ids: string
  readonly count: number
  readonly rowBytes: number
}

/** A launch, and what it needs of tensors that are not kept in memory. */
export interface StorageLaunch {
  readonly region: LoweredRegion
  readonly streamed: readonly StreamedArgument[]
  readonly named: readonly NamedArgument[]
}

export class StoragePlanner {
  readonly #options: StorageOptions
  /** Bytes for the arena, the frozen tensors in memory and the state there. */
  readonly limit: number
  readonly #costs: Costs

  constructor(options: StorageOptions, limit: number) {
    this.#options = options
    this.limit = limit
    this.#costs = new Costs(options.compute)
  }

  cut(launches: readonly StorageLaunch[]): CutLaunch[] {
    let next = 0
    return launches.map(({ region, streamed }): CutLaunch => {
      const cut = streamed.length === 0 ? [] : cutLaunch(region.kernel, streamed, this.#options.shardBytes)
      const parts = cut.some(({ uses }) => uses.length > 0) ? cut : undefined
      const first = next
      next += parts?.length ?? 1
      return { first, last: next - 1, parts }
    })
  }

  /** `live`: bytes of everything else at each moment; `room`: bytes that may be alive in the arena. `memoryFor`: see `planTransfers`. */
  transfers(
    launches: readonly StorageLaunch[],
    cut: readonly CutLaunch[],
    live: readonly number[],
    room: number,
    memoryFor?: MemoryFor,
  ): FunctionTransfers {
    const uses: RangeUse[] = []
    const seconds: number[] = []
    const ranges = new Map<string, TensorRange>()
    cut.forEach(({ first, last, parts }, place) => {
      const { region, named } = launches[place] as StorageLaunch
      seconds.push(...this.#costs.secondsOf(region, parts))
      for (let moment = first; moment <= last; moment++) {
        const part = parts?.[moment - first]
        for (const use of part?.uses ?? []) uses.push(rangeUse(use, moment, ranges))
        for (const argument of named) uses.push(namedUse(argument, place, moment, ranges))
      }
    })
    const { read, write = read } = this.#options
    const timeline = { uses: changedAlike(uses), live, seconds, budget: room, read, write }
    const plan = planTransfers(timeline, memoryFor)
    return {
      ...plan,
      seconds,
      ranges: plan.ranges.map((one) => ({ ...one, range: ranges.get(one.key) as TensorRange })),
    }
  }

  /** All transfers of a plan in their order, with what is kept of the state. */
  ordered(
    { ranges, seconds }: FunctionTransfers,
    values: readonly CarriedPlace[],
    carriedBytes: number,
  ): OrderedTransfers {
    const { shardBytes, read, write = read } = this.#options
    const pace = { seconds, read, write }
    const kept = keptPieces(values, carriedBytes, shardBytes)
    const order = kept.length === 0 ? transfersOf(ranges) : withKept(ranges, kept, pace)
    return { order, kept, stallSeconds: simulate(ranges, pace, order, kept).stallSeconds }
  }
}

/** Bytes of a tensor, or rows of it that ids name. */
export interface TensorRange {
  readonly tensor: TensorPlace
  readonly from: number
  readonly bytes: number
  readonly named?: NamedArgument
}

export type PlacedTransferRange = PlannedRange & { readonly range: TensorRange }

export interface FunctionTransfers extends TransferPlan {
  readonly ranges: readonly PlacedTransferRange[]
  /** How long each moment computes. */
  readonly seconds: readonly number[]
}

export interface OrderedTransfers {
  readonly order: readonly PlannedTransfer[]
  readonly kept: readonly KeptPiece[]
  /** What computing waits with those. */
  readonly stallSeconds: number
}

/** Ranges of equal bytes of a tensor are one range. */
export function rangeKey({ tensor, from, bytes }: TensorRange): string {
  return `${tensorKey(tensor)} ${from} ${bytes}`
}

/** Rows that a launch has of a tensor. */
export function namedKey({ tensor, ids }: Pick<NamedArgument, 'tensor' | 'ids'>, launch: number): string {
  return `${tensorKey(tensor)} named by ${ids} for ${launch}`
}

export function tensorKey({ space, index }: TensorPlace): string {
  return `${space} ${index}`
}

type Ranges = Map<string, TensorRange>

function rangeUse({ tensor, from, bytes, isWritten, isFresh }: PartUse, moment: number, ranges: Ranges): RangeUse {
  const key = rangeKey({ tensor, from, bytes })
  ranges.set(key, { tensor, from, bytes })
  const extent = { tensor: tensorKey(tensor), begin: from, end: from + bytes }
  return { key, bytes: align(bytes), moment, isWritten, isFresh, extent }
}

function namedUse(named: NamedArgument, launch: number, moment: number, ranges: Ranges): RangeUse {
  const { tensor, tensorBytes, count, rowBytes } = named
  const key = namedKey(named, launch)
  const bytes = count * rowBytes
  ranges.set(key, { tensor, from: 0, bytes, named })
  const extent = { tensor: tensorKey(tensor), begin: 0, end: tensorBytes }
  return { key, bytes: align(bytes), moment, isWritten: true, extent, requests: count }
}

/** Only tensors that the function changes need their order kept; of a range that a moment reads and changes, it changes it. */
function changedAlike(uses: readonly RangeUse[]): RangeUse[] {
  const changed = new Set(uses.flatMap(({ isWritten, extent }) => (isWritten && extent ? [extent.tensor] : [])))
  const seen = new Map<string, string>()
  return uses.map(({ extent, ...use }) => {
    if (!extent || !changed.has(extent.tensor)) return use
    const place = `${extent.tensor} at ${use.moment}`
    const known = seen.get(place)
    // Two pieces of memory for one tensor while it changes would not see each other.
    if (known !== undefined && known !== use.key) throw new InternalError(`a launch has '${use.key}' beside '${known}'`)
    seen.set(place, use.key)
    return { ...use, extent }
  })
}
