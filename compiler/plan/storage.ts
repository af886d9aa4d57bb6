// Where frozen tensors are while a function runs: in memory all the time, or read by ranges into the arena. Cuts launches
// into parts, plans the reads and gives each range its place beside the intermediate values.

import type { Kernel } from '../kernel/ir.ts'
import type { LoweredRegion } from '../schedule/lowering.ts'
import { align } from './arena.ts'
import { Costs } from './costs.ts'
import { outermostLoop } from './footprint.ts'
import { PartCutter } from './parts.ts'
import type { CutPart, StreamedArgument } from './parts.ts'
import { planReads } from './reads.ts'
import type { PlannedRead, RangeUse, ReadPlan } from './reads.ts'
import type { Rates, StorageRate } from './rates.ts'

export interface StorageOptions {
  /** Bytes that a part of a launch reads from storage at most, where its kernel allows that. */
  readonly shardBytes: number
  /** Smaller frozen tensors are in memory all the time. */
  readonly residentBytes: number
  /** Bytes for the arena and the frozen tensors in memory, by what else the program needs. */
  readonly limit: (needs: ProgramNeeds) => number
  readonly read: StorageRate
  readonly compute: Rates
}

/** What of a program's memory is known before anything is placed. */
export interface ProgramNeeds {
  readonly stateBytes: number
  readonly inputBytes: number
  readonly kernels: readonly Kernel[]
}

/** The launches of a function on a finer timeline: one moment for each part. */
export interface CutLaunch {
  /** Its first moment and its last. */
  readonly first: number
  readonly last: number
  /** Undefined where it reads nothing from storage: one moment. */
  readonly parts: readonly CutPart[] | undefined
}

/** A launch, and what it reads of frozen tensors that are not kept in memory. */
export interface FrozenLaunch {
  readonly region: LoweredRegion
  readonly streamed: readonly StreamedArgument[]
}

export class StoragePlanner {
  readonly #options: StorageOptions
  /** Bytes for the arena and the frozen tensors in memory. */
  readonly limit: number
  readonly #cutter: PartCutter
  readonly #costs: Costs

  constructor(options: StorageOptions, limit: number) {
    this.#options = options
    this.limit = limit
    this.#cutter = new PartCutter(options.shardBytes)
    this.#costs = new Costs(options.compute)
  }

  cut(launches: readonly FrozenLaunch[]): CutLaunch[] {
    let next = 0
    return launches.map(({ region, streamed }): CutLaunch => {
      const cut = streamed.length === 0 ? [] : this.#cutter.cut(region.kernel, streamed)
      const parts = cut.some(({ uses }) => uses.length > 0) ? cut : undefined
      const first = next
      next += parts?.length ?? 1
      return { first, last: next - 1, parts }
    })
  }

  /** `live`: bytes of everything else at each moment; `room`: bytes that may be alive in the arena. */
  reads(
    launches: readonly FrozenLaunch[],
    cut: readonly CutLaunch[],
    live: readonly number[],
    room: number,
  ): FunctionReads {
    const uses: RangeUse[] = []
    const seconds: number[] = []
    const ranges = new Map<string, TensorRange>()
    cut.forEach(({ first, parts }, place) => {
      const { region } = launches[place] as FrozenLaunch
      const whole = this.#costs.of(region).seconds
      if (!parts) {
        seconds.push(whole)
        return
      }
      const count = outermostLoop(region.kernel)?.count ?? 1
      parts.forEach((part, offset) => {
        seconds.push((whole * (part.end - part.begin)) / count)
        for (const { index, from, bytes } of part.uses) {
          const key = rangeKey({ index, from, bytes })
          ranges.set(key, { index, from, bytes })
          uses.push({ key, bytes: align(bytes), moment: first + offset })
        }
      })
    })
    const plan = planReads({ uses, live, seconds, budget: room, storage: this.#options.read })
    return { ...plan, reads: plan.reads.map((read) => ({ ...read, range: ranges.get(read.key) as TensorRange })) }
  }
}

/** Bytes of a frozen tensor. */
export interface TensorRange {
  readonly index: number
  readonly from: number
  readonly bytes: number
}

export interface PlannedRange extends PlannedRead {
  readonly range: TensorRange
}

export interface FunctionReads extends ReadPlan {
  readonly reads: readonly PlannedRange[]
}

/** Ranges of equal bytes of a tensor are one range. */
export function rangeKey({ index, from, bytes }: TensorRange): string {
  return `${index} ${from} ${bytes}`
}
