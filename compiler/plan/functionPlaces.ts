// Places of what one function computes for itself, and of what it reads from storage meanwhile: lifetimes on a timeline of
// launches and their parts, then offsets in the arena.

import { InternalError } from '../diagnostic.ts'
import type { Place as SourcePlace } from '../diagnostic.ts'
import { dtypeBytes } from '../graph/axis.ts'
import type { Node, Provenance } from '../graph/node.ts'
import { bufferElements } from '../kernel/ir.ts'
import type { Buffer } from '../kernel/ir.ts'
import type { LoweredRegion } from '../schedule/lowering.ts'
import type { ScheduledFunction } from '../schedule/schedule.ts'
import { computedAgain } from './again.ts'
import { align } from './arena.ts'
import type { Arena, Lifetime, Placing } from './arena.ts'
import type { StreamedArgument } from './parts.ts'
import type { Part, Place, Read } from './program.ts'
import { rangeKey } from './storage.ts'
import type { CutLaunch, FrozenLaunch, FunctionReads, PlannedRange, StoragePlanner } from './storage.ts'

export interface ArenaBuffer extends Lifetime {
  readonly label: string
  readonly offset: number
  /** The layer it belongs to. */
  readonly layer: number | undefined
  /** The researcher's line, where it is known. */
  readonly place: SourcePlace | undefined
  /** Whether it is a value that the function has computed before. */
  readonly isAgain: boolean
}

/** What one function keeps in the arena, for the certificate. */
export interface ArenaUse {
  readonly fn: string
  readonly peak: number
  readonly lowerBound: number
  /** Lives are in moments: each launch is one, or each of its parts. */
  readonly buffers: readonly ArenaBuffer[]
  /** The launch that each moment belongs to. */
  readonly launchOf: readonly number[]
  readonly storage?: StorageUse
}

/** What a function reads of frozen tensors that are not in memory, by the plan's own figures. */
export interface StorageUse {
  /** In the order in which they are read. */
  readonly reads: readonly (PlannedRange & { readonly label: string; readonly offset: number })[]
  readonly bytes: number
  /** Largest sum of bytes of ranges alive at once. */
  readonly windowBytes: number
  readonly computeSeconds: number
  readonly stallSeconds: number
}

/** Frozen tensors that are read by ranges: their index and bytes by name. */
export type StreamedTensors = ReadonlyMap<string, { readonly index: number; readonly bytes: number }>

export interface FunctionStorage {
  readonly planner: StoragePlanner
  readonly tensors: StreamedTensors
  /** Bytes of frozen tensors in memory. */
  readonly kept: number
}

export class FunctionPlaces {
  readonly use: ArenaUse
  readonly reads: readonly Read[]
  readonly #cut: readonly CutLaunch[]
  readonly #places = new Map<Node | Buffer, Place>()
  readonly #placed: readonly (PlannedRange & { readonly offset: number })[]

  constructor(fn: ScheduledFunction, provenance: Provenance, placing: Placing, storage: FunctionStorage | undefined) {
    const launches = fn.regions.map((region) => frozenLaunch(region, storage?.tensors))
    this.#cut = storage
      ? storage.planner.cut(launches)
      : launches.map((_, place) => ({ first: place, last: place, parts: undefined }))
    const moments = (this.#cut.at(-1)?.last ?? -1) + 1
    const lives = new Map<Node | Buffer, { bytes: number; first: number; last: number }>()
    const touch = (value: Node | Buffer, bytes: number, first: number, last = first): void => {
      const known = lives.get(value)
      lives.set(value, {
        bytes,
        first: Math.min(known?.first ?? first, first),
        last: Math.max(known?.last ?? last, last),
      })
    }
    fn.regions.forEach((region, place) => {
      const { first, last } = this.#cut[place] as CutLaunch
      for (const reference of region.references) {
        if (reference.kind === 'node') touch(reference.node, nodeBytes(reference.node), first, last)
        if (reference.kind === 'carry')
          touch(this.#carry(place, reference.buffer), bufferBytes(reference.buffer), first, last)
      }
    })
    for (const { node } of fn.fn.outputs) if (!fn.targets.has(node)) touch(node, nodeBytes(node), moments)
    const values = [...lives.keys()]
    const lifetimes: Lifetime[] = [...lives.values()]
    const live = liveBytes(lifetimes, moments)
    const { planned, arena } = storage
      ? placeWithReads(placing, lifetimes, storage, (room) => storage.planner.reads(launches, this.#cut, live, room))
      : { planned: undefined, arena: placing(lifetimes) }
    const ranges = planned?.reads ?? []
    values.forEach((value, index) =>
      this.#places.set(value, { space: 'arena', offset: arena.offsets[index] as number }),
    )
    this.#placed = ranges.map((range, index) => ({ ...range, offset: arena.offsets[values.length + index] as number }))
    this.reads = this.#placed.map(({ range, offset, start }): Read => ({ ...range, offset, after: start }))
    const again = computedAgain(fn.fn)
    const describe = (value: Node | Buffer): Pick<ArenaBuffer, 'label' | 'layer' | 'place' | 'isAgain'> =>
      'op' in value
        ? {
            label: provenance.name(value) ?? value.op,
            layer: value.layer,
            place: provenance.place(value),
            isAgain: again.has(value),
          }
        : { label: 'sums between phases', layer: undefined, place: undefined, isAgain: false }
    this.use = {
      fn: fn.fn.name,
      peak: arena.peak,
      lowerBound: arena.lowerBound,
      buffers: values.map((value, index) => ({
        ...describe(value),
        ...(lifetimes[index] as Lifetime),
        offset: arena.offsets[index] as number,
      })),
      launchOf: this.#cut.flatMap(({ first, last }, launch) => Array.from({ length: last - first + 1 }, () => launch)),
      ...(planned && storage && ranges.length > 0 ? { storage: this.#storageUse(planned, storage, moments) } : {}),
    }
  }

  place(node: Node): Place {
    return this.#placeOf(node, `a result of ${node.op}`)
  }

  carried(launch: number, buffer: Buffer): Place {
    return this.#placeOf(this.#carry(launch, buffer), buffer.name)
  }

  /** The parts of a launch, with what they read from storage in its place. */
  parts(launch: number): Part[] | undefined {
    const { first, parts } = this.#cut[launch] as CutLaunch
    return parts?.map(({ begin, end, uses }, offset) => {
      const moment = first + offset
      const windows = uses.map(({ argument, ...use }) => {
        const key = rangeKey(use)
        const range = this.#placed.find((one) => one.key === key && one.first <= moment && moment <= one.last)
        if (!range) throw new InternalError(`nothing reads range ${key} of a frozen tensor`)
        return { argument, from: use.from, offset: range.offset }
      })
      return { begin, end, reads: this.#readsUntil(moment), windows }
    })
  }

  readonly #carried = new Map<string, Buffer>()

  /** One for each launch: kernels are shared. */
  #carry(launch: number, buffer: Buffer): Buffer {
    const key = `${launch} ${buffer.name}`
    const known = this.#carried.get(key) ?? { ...buffer }
    this.#carried.set(key, known)
    return known
  }

  #placeOf(value: Node | Buffer, what: string): Place {
    const place = this.#places.get(value)
    if (!place) throw new InternalError(`${what} has no place`)
    return place
  }

  #readsUntil(moment: number): number {
    // In the order of their first moments.
    let [low, high] = [0, this.#placed.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#placed[middle]?.first ?? 0) <= moment) low = middle + 1
      else high = middle
    }
    return low
  }

  #storageUse(planned: FunctionReads, { tensors }: FunctionStorage, moments: number): StorageUse {
    const names = new Map([...tensors].map(([name, { index }]) => [index, name]))
    const reads = this.#placed.map((range) => {
      const { index, from } = range.range
      return { ...range, label: `${names.get(index) ?? index} from byte ${from}` }
    })
    const alive = liveBytes(
      reads.map(({ bytes, start, last }) => ({ bytes, first: start, last })),
      moments,
    )
    const { bytes, computeSeconds, stallSeconds } = planned
    return {
      reads,
      bytes,
      windowBytes: alive.reduce((most, live) => Math.max(most, live), 0),
      computeSeconds,
      stallSeconds,
    }
  }
}

/** Plans of reads that leave less and less room, until what is placed has enough. */
const MOST_ATTEMPTS = 4

/** What an arena may have above its lower bound, and what of that bound the next plan may have where it had more. */
const DENSE = 1.02
const LESS = 0.97

/** Values and ranges in one arena: where gaps between them cost more than there is, less is read ahead. */
function placeWithReads(
  placing: Placing,
  lifetimes: readonly Lifetime[],
  { planner, kept }: FunctionStorage,
  reads: (room: number) => FunctionReads,
): { readonly planned: FunctionReads; readonly arena: Arena } {
  const limit = planner.limit - kept
  let room = limit
  let best: { planned: FunctionReads; arena: Arena } | undefined
  for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt++) {
    const planned = reads(attempt === MOST_ATTEMPTS ? 0 : room)
    const ranges = planned.reads.map(({ bytes, start, last }) => ({ bytes, first: start, last }))
    const arena = placing([...lifetimes, ...ranges])
    if (!best || arena.peak < best.arena.peak) best = { planned, arena }
    const isDense = arena.peak <= DENSE * arena.lowerBound
    if ((arena.peak <= limit && isDense) || arena.lowerBound > room) break
    room = arena.peak > limit ? room - (arena.peak - limit) : LESS * arena.lowerBound
  }
  return best as { planned: FunctionReads; arena: Arena }
}

function frozenLaunch(region: LoweredRegion, tensors: StreamedTensors | undefined): FrozenLaunch {
  const streamed = region.references.flatMap((reference, argument): StreamedArgument[] => {
    const tensor = reference.kind === 'declared' ? tensors?.get(reference.name) : undefined
    return tensor ? [{ argument, ...tensor }] : []
  })
  return { region, streamed }
}

function nodeBytes({ axes, dtype }: Node): number {
  return axes.reduce((product, axis) => product * axis.size, dtypeBytes[dtype])
}

function bufferBytes(buffer: Buffer): number {
  return bufferElements(buffer) * dtypeBytes[buffer.dtype]
}

/** Sum of aligned bytes alive at each moment. */
function liveBytes(lifetimes: readonly Lifetime[], moments: number): number[] {
  const changes = new Float64Array(moments + 2)
  for (const { bytes, first, last } of lifetimes) {
    changes[first] = (changes[first] ?? 0) + align(bytes)
    changes[last + 1] = (changes[last + 1] ?? 0) - align(bytes)
  }
  let live = 0
  return Array.from({ length: moments }, (_, moment) => (live += changes[moment] ?? 0))
}
