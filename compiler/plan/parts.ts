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

/** What of its arguments a part needs, before it is known which tensors they are. */
type UsedPart = Omit<CutPart, 'uses'> & { readonly uses: readonly Omit<PartUse, 'tensor'>[] }

/** Kernels are shared by layers, functions and plans: how each of them is cut is worked out once. */
const known = new WeakMap<Kernel, Map<string, readonly UsedPart[]>>()

/**
 * A launch of a kernel in parts. `shardBytes`: what a part should need of one tensor at most. A kernel that needs more at once gets it.
 */
export function cutLaunch(kernel: Kernel, streamed: readonly StreamedArgument[], shardBytes: number): CutPart[] {
  const ways = known.get(kernel) ?? new Map<string, readonly UsedPart[]>()
  known.set(kernel, ways)
  const way = `${shardBytes} ${streamed.map(({ argument, bytes }) => `${argument}:${bytes}`).join()}`
  const parts = ways.get(way) ?? cut(kernel, streamed, shardBytes)
  ways.set(way, parts)
  const tensors = new Map(streamed.map(({ argument, tensor }) => [argument, tensor]))
  return parts.map(({ uses, ...part }) => ({
    ...part,
    uses: uses.map((use) => ({ ...use, tensor: tensors.get(use.argument) as TensorPlace })),
  }))
}

function cut(kernel: Kernel, streamed: readonly StreamedArgument[], shardBytes: number): readonly UsedPart[] {
  const count = outermostLoop(kernel)?.count ?? 1
  const footprint = new Footprint(kernel)
  const usesOf = (begin: number, end: number): UsedPart['uses'] =>
    streamed.flatMap(({ argument }) => {
      const range = footprint.of(kernel.arguments[argument]?.name ?? '', begin, end)
      const isWritten = kernel.arguments[argument]?.access !== 'read'
      return range.bytes === 0 ? [] : [{ argument, ...range, isWritten, isFresh: false }]
    })
  const most = (uses: UsedPart['uses']): number => uses.reduce((largest, { bytes }) => Math.max(largest, bytes), 0)
  const whole = [{ begin: 0, end: count, uses: usesOf(0, count) }]
  const wholeBytes = most(whole[0]?.uses ?? [])
  // Where an iteration needs as much as all of them there is nothing to gain.
  if (count === 1 || wholeBytes <= shardBytes || most(usesOf(0, 1)) >= wholeBytes) {
    return withFresh(kernel, streamed, whole)
  }
  const parts: UsedPart[] = []
  for (let begin = 0; begin < count;) {
    let end = begin + 1
    let uses = usesOf(begin, end)
    while (end < count) {
      const more = usesOf(begin, end + 1)
      if (most(more) > shardBytes) break
      uses = more
      end++
    }
    parts.push({ begin, end, uses })
    begin = end
  }
  return withFresh(kernel, streamed, changesApart(parts, streamed) ? parts : whole)
}

/** Whether no byte that a part changes is in a range of another part: two copies of it would go back to one place. */
function changesApart(parts: readonly UsedPart[], streamed: readonly StreamedArgument[]): boolean {
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
function withFresh(
  kernel: Kernel,
  streamed: readonly StreamedArgument[],
  parts: readonly UsedPart[],
): readonly UsedPart[] {
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
