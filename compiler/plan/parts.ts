// A launch cut into parts that each need only some rows of the frozen tensors which are not kept in memory. Parts follow
// the kernel's outermost loop; nothing about the kernel changes.

import type { Kernel } from '../kernel/ir.ts'
import { Footprint, outermostLoop } from './footprint.ts'
import type { ByteRange } from './footprint.ts'

/** An argument that is read from storage: its position, which frozen tensor it is, and the tensor's bytes. */
export interface StreamedArgument {
  readonly argument: number
  readonly index: number
  readonly bytes: number
}

export interface PartUse extends ByteRange {
  readonly argument: number
  readonly index: number
}

/** Iterations `begin` … `end` − 1 of the outermost loop, and what they read from storage. */
export interface CutPart {
  readonly begin: number
  readonly end: number
  readonly uses: readonly PartUse[]
}

/** Kernels are shared by layers: what each of them reads is worked out once. */
export class PartCutter {
  readonly #shardBytes: number
  readonly #footprints = new Map<Kernel, Footprint>()
  readonly #ranges = new Map<Kernel, Map<string, ByteRange>>()

  /** `shardBytes`: what a part should read from storage at most. A kernel that needs more at once gets it. */
  constructor(shardBytes: number) {
    this.#shardBytes = shardBytes
  }

  cut(kernel: Kernel, streamed: readonly StreamedArgument[]): CutPart[] {
    const count = outermostLoop(kernel)?.count ?? 1
    const usesOf = (begin: number, end: number): PartUse[] =>
      streamed.flatMap(({ argument, index }) => {
        const range = this.#range(kernel, argument, begin, end)
        return range.bytes === 0 ? [] : [{ argument, index, ...range }]
      })
    const bytesOf = (uses: readonly PartUse[]): number => uses.reduce((sum, { bytes }) => sum + bytes, 0)
    const whole = usesOf(0, count)
    const wholeBytes = bytesOf(whole)
    // Where an iteration reads as much as all of them there is nothing to gain.
    if (count === 1 || wholeBytes <= this.#shardBytes || bytesOf(usesOf(0, 1)) >= wholeBytes) {
      return [{ begin: 0, end: count, uses: whole }]
    }
    const parts: CutPart[] = []
    for (let begin = 0; begin < count;) {
      let end = begin + 1
      let uses = usesOf(begin, end)
      while (end < count) {
        const more = usesOf(begin, end + 1)
        if (bytesOf(more) > this.#shardBytes) break
        uses = more
        end++
      }
      parts.push({ begin, end, uses })
      begin = end
    }
    return parts
  }

  #range(kernel: Kernel, argument: number, begin: number, end: number): ByteRange {
    const known = this.#ranges.get(kernel) ?? new Map<string, ByteRange>()
    this.#ranges.set(kernel, known)
    const key = `${argument} ${begin} ${end}`
    const range = known.get(key) ?? this.#footprint(kernel).of(kernel.arguments[argument]?.name ?? '', begin, end)
    known.set(key, range)
    return range
  }

  #footprint(kernel: Kernel): Footprint {
    const known = this.#footprints.get(kernel) ?? new Footprint(kernel)
    this.#footprints.set(kernel, known)
    return known
  }
}
