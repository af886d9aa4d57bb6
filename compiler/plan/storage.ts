// Where frozen tensors are while a function runs: in memory all the time, or read by ranges into the arena. Cuts launches
// into parts, plans the reads and gives each range its place beside the intermediate values.

import { dtypeBytes } from '../graph/axis.ts'
import { bufferElements } from '../kernel/ir.ts'
import type { Kernel } from '../kernel/ir.ts'
import { countKernel } from '../kernel/traffic.ts'
import { outermostLoop } from './footprint.ts'
import { PartCutter } from './parts.ts'
import type { CutPart, StreamedArgument } from './parts.ts'
import { planReads } from './reads.ts'
import type { PlannedRead, RangeUse, StorageRate } from './reads.ts'

export interface StorageOptions {
  /** Bytes that a part of a launch reads from storage at most, where its kernel allows that. */
  readonly shardBytes: number
  /** Smaller frozen tensors are in memory all the time. */
  readonly residentBytes: number
  /** Bytes for the arena and the frozen tensors in memory, by what else the program needs. */
  readonly limit: (needs: ProgramNeeds) => number
  readonly read: StorageRate
  /** What the processor does of float32 operations, and its memory of bytes, in a second. */
  readonly compute: { readonly flopsPerSecond: number; readonly bytesPerSecond: number }
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

/** What a launch of a kernel reads of frozen tensors that are not kept in memory. */
export interface FrozenLaunch {
  readonly kernel: Kernel
  readonly streamed: readonly StreamedArgument[]
}

export class StoragePlanner {
  readonly #options: StorageOptions
  /** Bytes for the arena and the frozen tensors in memory. */
  readonly limit: number
  readonly #cutter: PartCutter
  readonly #seconds = new Map<Kernel, number>()

  constructor(options: StorageOptions, limit: number) {
    this.#options = options
    this.limit = limit
    this.#cutter = new PartCutter(options.shardBytes)
  }

  cut(launches: readonly FrozenLaunch[]): CutLaunch[] {
    let next = 0
    return launches.map(({ kernel, streamed }): CutLaunch => {
      const cut = streamed.length === 0 ? [] : this.#cutter.cut(kernel, streamed)
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
    cut.forEach(({ first, parts }, place) => {
      const { kernel } = launches[place] as FrozenLaunch
      const whole = this.#secondsOf(kernel)
      if (!parts) {
        seconds.push(whole)
        return
      }
      const count = outermostLoop(kernel)?.count ?? 1
      parts.forEach((part, offset) => {
        seconds.push((whole * (part.end - part.begin)) / count)
        for (const { index, from, bytes } of part.uses) {
          uses.push({ key: rangeKey(index, from, bytes), bytes: aligned(bytes), moment: first + offset })
        }
      })
    })
    return planReads({ uses, live, seconds, budget: room, storage: this.#options.read })
  }

  /** By the device's two limits: the slower one counts. */
  #secondsOf(kernel: Kernel): number {
    const known = this.#seconds.get(kernel)
    if (known !== undefined) return known
    const { flopsPerSecond, bytesPerSecond } = this.#options.compute
    const bytes = kernel.arguments.reduce((sum, one) => sum + bufferElements(one) * dtypeBytes[one.dtype], 0)
    const operations = 2 * countKernel(kernel).multiplyAdds
    const seconds = Math.max(operations / flopsPerSecond, bytes / bytesPerSecond)
    this.#seconds.set(kernel, seconds)
    return seconds
  }
}

export type FunctionReads = ReturnType<typeof planReads>
export type { PlannedRead }

/** Ranges of equal bytes of a tensor are one range. */
export function rangeKey(index: number, from: number, bytes: number): string {
  return `${index} ${from} ${bytes}`
}

const aligned = (bytes: number): number => Math.ceil(bytes / 64) * 64
