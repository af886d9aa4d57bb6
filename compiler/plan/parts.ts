// A launch cut into parts that each need only some rows of the tensors which are not kept in memory. Parts follow the kernel's
// outermost loop; nothing about the kernel changes.

import type { Kernel } from '../kernel/ir.ts'
import { Footprint, outermostLoop } from './footprint.ts'
import type { ByteRange } from './footprint.ts'
import type { TensorPlace } from './program.ts'

/** An argument that lies in storage: its position, which tensor it is, and the tensor's bytes. */
export interface StreamedArgument {
  readonly argument: number
  readonly tensor: TensorPlace
  readonly bytes: number
}

export interface PartUse extends ByteRange {
  readonly argument: number
  readonly tensor: TensorPlace
  readonly isWritten: boolean
  /** All of it is written, and nothing of it read. */
  readonly isFresh: boolean
}

/** Iterations `begin` … `end` − 1 of the outermost loop, and what they need from storage. */
export interface CutPart {
  readonly begin: number
  readonly end: number
  readonly uses: readonly PartUse[]
}

/** Kernels are shared by layers: what each of them touches is worked out once. */
export class PartCutter {
  readonly #shardBytes: number
  readonly #footprints = new Map<Kernel, Footprint>()
  readonly #ranges = new Map<Kernel, Map<string, ByteRange>>()

  /** `shardBytes`: what a part should need of one tensor at most. A kernel that needs more at once gets it. */
  constructor(shardBytes: number) {
    this.#shardBytes = shardBytes
  }

  cut(kernel: Kernel, streamed: readonly StreamedArgument[]): CutPart[] {
    const count = outermostLoop(kernel)?.count ?? 1
    const usesOf = (begin: number, end: number): PartUse[] =>
      streamed.flatMap(({ argument, tensor }) => {
        const range = this.#range(kernel, argument, begin, end)
        const isWritten = kernel.arguments[argument]?.access !== 'read'
        return range.bytes === 0 ? [] : [{ argument, tensor, ...range, isWritten, isFresh: false }]
      })
    const most = (uses: readonly PartUse[]): number => uses.reduce((largest, { bytes }) => Math.max(largest, bytes), 0)
    const whole = [{ begin: 0, end: count, uses: usesOf(0, count) }]
    const wholeBytes = most(whole[0]?.uses ?? [])
    // Where an iteration needs as much as all of them there is nothing to gain.
    if (count === 1 || wholeBytes <= this.#shardBytes || most(usesOf(0, 1)) >= wholeBytes) {
      return withFresh(kernel, streamed, whole)
    }
    const parts: CutPart[] = []
    for (let begin = 0; begin < count;) {
      let end = begin + 1
      let uses = usesOf(begin, end)
      while (end < count) {
        const more = usesOf(begin, end + 1)
        if (most(more) > this.#shardBytes) break
        uses = more
        end++
      }
      parts.push({ begin, end, uses })
      begin = end
    }
    return withFresh(kernel, streamed, changesApart(parts, streamed) ? parts : whole)
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

/** Whether no byte that a part changes is in a range of another part: two copies of it would go back to one place. */
function changesApart(parts: readonly CutPart[], streamed: readonly StreamedArgument[]): boolean {
  return streamed.every(({ argument }) => {
    const ranges = parts.flatMap(({ uses }) => uses.filter((use) => use.argument === argument))
    if (!ranges.some(({ isWritten }) => isWritten)) return true
    const ordered = ranges.toSorted((a, b) => a.from - b.from)
    return ordered.every(({ from }, place) => {
      const before = ordered[place - 1]
      return before === undefined || before.from + before.bytes <= from
    })
  })
}

/** Where a kernel only writes an argument and its parts' ranges are all of it, each part writes all of its own. */
function withFresh(kernel: Kernel, streamed: readonly StreamedArgument[], parts: readonly CutPart[]): CutPart[] {
  const fresh = streamed.filter(({ argument, bytes }) => {
    if (kernel.arguments[argument]?.access !== 'write') return false
    const ranges = parts.flatMap(({ uses }) => uses.filter((use) => use.argument === argument))
    return ranges.reduce((sum, range) => sum + range.bytes, 0) === bytes
  })
  const isFresh = new Set(fresh.map(({ argument }) => argument))
  return parts.map((part) => ({
    ...part,
    uses: part.uses.map((use) => ({ ...use, isFresh: isFresh.has(use.argument) })),
  }))
}
