// Places of what one function computes for itself, and of what comes from storage meanwhile and goes back: lifetimes on a
// timeline of launches and their parts, then offsets in the arena.

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
import type { Lifetime, Placing } from './arena.ts'
import type { StreamedArgument } from './parts.ts'
import { placeWithRanges } from './rangePlaces.ts'
import type { FirstOccurrences, Part, Place, RangeTransfer, TensorPlace, Transfer } from './program.ts'
import { namedKey, rangeKey, tensorKey } from './storage.ts'
import type { CutLaunch, FunctionTransfers, NamedArgument, OrderedTransfers, PlacedTransferRange, StorageLaunch, StoragePlanner } from './storage.ts' // prettier-ignore
import type { CarriedPlace } from './keeping.ts'
import { lifeOf, waitsOf } from './moments.ts'
import type { KeptPiece, PlannedTransfer } from './moments.ts'
import { withoutZeroing } from './zeroing.ts'

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
  /** What each launch computes. */
  readonly regions: readonly LoweredRegion[]
  readonly storage?: StorageUse
}

/** What a function moves of tensors that are not in memory, by the plan's own figures. */
export interface StorageUse {
  /** In the order of their first moments. */
  readonly ranges: readonly (PlacedRange & { readonly label: string })[]
  /** What is kept of the state in memory, for the version that the function's update makes. */
  readonly kept: readonly KeptPiece[]
  /** Transfers of both, in which they are made. */
  readonly order: readonly PlannedTransfer[]
  readonly reads: number
  readonly readBytes: number
  readonly writes: number
  readonly writtenBytes: number
  /** Largest sum of bytes of ranges alive at once. */
  readonly windowBytes: number
  readonly computeSeconds: number
  readonly stallSeconds: number
}

type PlacedRange = PlacedTransferRange & { readonly offset: number }

/** Tensors that are not in memory, by name. */
export type StreamedTensors = ReadonlyMap<string, { readonly place: TensorPlace; readonly bytes: number }>

export interface FunctionStorage {
  readonly planner: StoragePlanner
  readonly tensors: StreamedTensors
  /** Bytes of frozen tensors and of state in memory. */
  readonly kept: number
  /** Places of an input of ids, and how many there are. */
  readonly ids: (name: string) => { readonly place: Place; readonly count: number }
  readonly hasVersions: (tensor: TensorPlace) => boolean
  /** What a step carries over in memory, in the order of offsets, and its bytes with what lies between. */
  readonly carried: readonly CarriedValue[]
  readonly carriedBytes: number
}

export interface CarriedValue {
  readonly name: string
  /** Bytes into the state. */
  readonly offset: number
  readonly bytes: number
}

type Value = Node | Buffer | string

export class FunctionPlaces {
  readonly use: ArenaUse
  readonly transfers: readonly Transfer[]
  readonly firsts: readonly FirstOccurrences[]
  readonly #cut: readonly CutLaunch[]
  readonly #places = new Map<Value, Place>()
  readonly #ranges: readonly PlacedRange[]
  readonly #byKey = new Map<string, PlacedRange[]>()
  readonly #waits: Int32Array
  readonly #tensors: StreamedTensors | undefined

  constructor(fn: ScheduledFunction, provenance: Provenance, placing: Placing, storage: FunctionStorage | undefined) {
    const given = fn.regions.map((region) => storageLaunch(region, storage))
    const launches = storage ? withoutZeroing(fn, given, storage.planner) : given
    const regions = launches.map(({ region }) => region)
    this.#tensors = storage?.tensors
    this.#cut = storage
      ? storage.planner.cut(launches)
      : launches.map((_, place) => ({ first: place, last: place, parts: undefined }))
    const moments = (this.#cut.at(-1)?.last ?? -1) + 1
    const lives = new Map<Value, { bytes: number; first: number; last: number }>()
    const touch = (value: Value, bytes: number, first: number, last = first): void => {
      const known = lives.get(value)
      lives.set(value, {
        bytes,
        first: Math.min(known?.first ?? first, first),
        last: Math.max(known?.last ?? last, last),
      })
    }
    const ids = new Set<string>()
    regions.forEach((region, place) => {
      const { first, last } = this.#cut[place] as CutLaunch
      for (const reference of region.references) {
        if (reference.kind === 'node') touch(reference.node, nodeBytes(reference.node), first, last)
        if (reference.kind === 'carry')
          touch(this.#carry(place, reference.buffer), bufferBytes(reference.buffer), first, last)
        if (reference.kind !== 'firsts') continue
        ids.add(reference.ids)
        // Worked out before anything else; rows are written, by what it says, after the launch that changes them.
        touch(firstsOf(reference.ids), 4 * (storage?.ids(reference.ids).count ?? 0), 0, moments - 1)
      }
    })
    for (const { node } of fn.fn.outputs) if (!fn.targets.has(node)) touch(node, nodeBytes(node), moments)
    const values = [...lives.keys()]
    const lifetimes: Lifetime[] = [...lives.values()]
    const live = liveBytes(lifetimes, moments)
    const { planned, arena } = storage
      ? placeWithRanges(placing, lifetimes, moments, storage.planner.limit - storage.kept, (room, memoryFor) =>
          storage.planner.transfers(launches, this.#cut, live, room, memoryFor),
        )
      : { planned: undefined, arena: placing(lifetimes) }
    const ranges = planned?.ranges ?? []
    values.forEach((value, index) =>
      this.#places.set(value, { space: 'arena', offset: arena.offsets[index] as number }),
    )
    this.#ranges = ranges.map((range, index) => ({ ...range, offset: arena.offsets[values.length + index] as number }))
    for (const range of this.#ranges) this.#byKey.set(range.key, [...(this.#byKey.get(range.key) ?? []), range])
    const keeping = planned && storage && this.#ends(fn, storage) ? storage : undefined
    const ordered: OrderedTransfers | undefined =
      planned &&
      storage?.planner.ordered(
        planned,
        keeping ? this.#carriedPlaces(regions, keeping) : [],
        keeping?.carriedBytes ?? 0,
      )
    const { order = [], kept = [] } = ordered ?? {}
    this.#waits = waitsOf(ranges, order, moments)
    this.firsts = [...ids].map((name) => {
      const { place, count } = (storage as FunctionStorage).ids(name)
      return { ids: place, firsts: this.#offsetOf(firstsOf(name)), count }
    })
    const ofNext = storage ? readsOfNext(this.#ranges, fn.updated ?? new Set(), storage) : new Set()
    this.transfers = order.map(({ kind, range, after }): Transfer => {
      if (kind === 'keep') {
        const { from, bytes } = kept[range] as KeptPiece
        return { kind, from, bytes, after }
      }
      const placed = this.#ranges[range] as PlacedRange
      const isNext = kind === 'read' && ofNext.has(placed)
      return this.#transfer(isNext ? 'readNext' : kind, placed, after, storage as FunctionStorage)
    })
    const again = computedAgain(fn.fn)
    const describe = (value: Value): Pick<ArenaBuffer, 'label' | 'layer' | 'place' | 'isAgain'> =>
      typeof value === 'object' && 'op' in value
        ? {
            label: provenance.name(value) ?? value.op,
            layer: value.layer,
            place: provenance.place(value),
            isAgain: again.has(value),
          }
        : {
            label: typeof value === 'string' ? value : 'sums between phases',
            layer: undefined,
            place: undefined,
            isAgain: false,
          }
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
      regions,
      ...(planned && ordered && storage && order.length > 0
        ? { storage: this.#storageUse(planned, ordered, storage, moments) }
        : {}),
    }
  }

  /** Whether a version stands behind the function. */
  #ends({ updates }: ScheduledFunction, { hasVersions }: FunctionStorage): boolean {
    if (updates) return updates === 'end'
    return this.#ranges.some(({ isWritten, range }) => isWritten && hasVersions(range.tensor))
  }

  /** What is carried over is what it will be behind the last launch that writes it. */
  #carriedPlaces(regions: readonly LoweredRegion[], { carried }: FunctionStorage): CarriedPlace[] {
    const after = new Map<string, number>()
    regions.forEach(({ references, kernel }, place) => {
      const { last } = this.#cut[place] as CutLaunch
      references.forEach((reference, argument) => {
        if (reference.kind !== 'declared' || kernel.arguments[argument]?.access === 'read') return
        after.set(reference.name, last + 1)
      })
    })
    return carried.map(({ name, offset, bytes }) => ({ offset, bytes, after: after.get(name) ?? 0 }))
  }

  place(node: Node): Place {
    return this.#placeOf(node, `a result of ${node.op}`)
  }

  carried(launch: number, buffer: Buffer): Place {
    return this.#placeOf(this.#carry(launch, buffer), buffer.name)
  }

  /** Rows that a launch has of a tensor in storage. */
  named(launch: number, name: string, ids: string): Place {
    const tensor = this.#tensors?.get(name)?.place
    const [range] = (tensor && this.#byKey.get(namedKey({ tensor, ids }, launch))) ?? []
    if (!range) throw new InternalError(`nothing brings the rows of '${name}' that '${ids}' name`)
    return { space: 'arena', offset: range.offset }
  }

  firstOccurrences(ids: string): Place {
    return this.#placeOf(firstsOf(ids), firstsOf(ids))
  }

  /** The parts of a launch, with what they need from storage in its place. */
  parts(launch: number): Part[] | undefined {
    const { first, parts } = this.#cut[launch] as CutLaunch
    return parts?.map(({ begin, end, uses }, offset) => {
      const moment = first + offset
      const windows = uses.map(({ argument, ...use }) => {
        const key = rangeKey(use)
        const range = this.#byKey.get(key)?.find((one) => one.first <= moment && moment <= one.last)
        if (!range) throw new InternalError(`nothing brings range ${key}`)
        return { argument, from: use.from, offset: range.offset }
      })
      return { begin, end, transfers: this.#waits[moment] ?? 0, windows }
    })
  }

  /** How many transfers a launch without parts waits for: what is written makes room, what is only read is of parts. */
  waitsOf(launch: number): number {
    const { first, parts } = this.#cut[launch] as CutLaunch
    return parts || !this.#ranges.some(({ isWritten }) => isWritten) ? 0 : (this.#waits[first] ?? 0)
  }

  readonly #carried = new Map<string, Buffer>()

  /** One for each launch: kernels are shared. */
  #carry(launch: number, buffer: Buffer): Buffer {
    const key = `${launch} ${buffer.name}`
    const known = this.#carried.get(key) ?? { ...buffer }
    this.#carried.set(key, known)
    return known
  }

  #placeOf(value: Value, what: string): Place {
    const place = this.#places.get(value)
    if (!place) throw new InternalError(`${what} has no place`)
    return place
  }

  #offsetOf(value: Value): number {
    const place = this.#places.get(value)
    if (place?.space !== 'arena') throw new InternalError('a value has no place in the arena')
    return place.offset
  }

  #transfer(
    kind: RangeTransfer['kind'],
    { range, offset }: PlacedRange,
    after: number,
    storage: FunctionStorage,
  ): RangeTransfer {
    const { tensor, from, bytes, named } = range
    const common = { kind, tensor, from, bytes, offset, after }
    if (!named) return common
    const { place } = storage.ids(named.ids)
    const firsts = this.#offsetOf(firstsOf(named.ids))
    return { ...common, rows: { ids: place, firsts, count: named.count, rowBytes: named.rowBytes } }
  }

  #storageUse(
    planned: FunctionTransfers,
    { order, kept, stallSeconds }: OrderedTransfers,
    { tensors }: FunctionStorage,
    moments: number,
  ): StorageUse {
    const names = new Map([...tensors].map(([name, { place }]) => [tensorKey(place), name]))
    const ranges = this.#ranges.map((one) => {
      const { tensor, from, named } = one.range
      const name = names.get(tensorKey(tensor)) ?? tensorKey(tensor)
      return { ...one, label: named ? `rows of ${name} that ${named.ids} name` : `${name} from byte ${from}` }
    })
    const alive = liveBytes(ranges.map(lifeOf), moments)
    const { readBytes, computeSeconds } = planned
    const keptBytes = kept.reduce((sum, { bytes }) => sum + bytes, 0)
    return {
      ranges,
      kept,
      order,
      reads: ranges.filter(({ isRead }) => isRead).length,
      readBytes,
      writes: ranges.filter(({ isWritten }) => isWritten).length + kept.length,
      writtenBytes: planned.writtenBytes + keptBytes,
      windowBytes: alive.reduce((most, bytes) => Math.max(most, bytes), 0),
      computeSeconds,
      stallSeconds,
    }
  }
}

/** Reads of values with versions behind what an update has written of them; `updated` were written before the function. */
function readsOfNext(
  ranges: readonly PlacedRange[],
  updated: ReadonlySet<string>,
  { tensors, hasVersions }: FunctionStorage,
): ReadonlySet<PlacedRange> {
  const before = new Set([...tensors].flatMap(([name, { place }]) => (updated.has(name) ? [tensorKey(place)] : [])))
  const written = new Map<string, PlacedRange[]>()
  const found = new Set<PlacedRange>()
  for (const placed of ranges) {
    const { tensor, from, bytes } = placed.range
    if (!hasVersions(tensor)) continue
    const key = tensorKey(tensor)
    const earlier = (written.get(key) ?? []).filter(
      (one) => one.range.from < from + bytes && from < one.range.from + one.range.bytes,
    )
    const known = earlier.reduce((sum, one) => sum + sharedBytes(one.range, placed.range), 0)
    if (placed.isRead && known > 0 && known < bytes) throw new InternalError(`range ${placed.key} is of two versions`)
    if (placed.isRead && (before.has(key) || known > 0)) found.add(placed)
    if (placed.isWritten) written.set(key, [...(written.get(key) ?? []), placed])
  }
  return found
}

function sharedBytes(
  one: Pick<PlacedRange['range'], 'from' | 'bytes'>,
  other: Pick<PlacedRange['range'], 'from' | 'bytes'>,
): number {
  return Math.min(one.from + one.bytes, other.from + other.bytes) - Math.max(one.from, other.from)
}

function storageLaunch(region: LoweredRegion, storage: FunctionStorage | undefined): StorageLaunch {
  const { tensors, ids } = storage ?? {}
  const streamed = region.references.flatMap((reference, argument): StreamedArgument[] => {
    const tensor = reference.kind === 'declared' ? tensors?.get(reference.name) : undefined
    return tensor ? [{ argument, tensor: tensor.place, bytes: tensor.bytes }] : []
  })
  const named = region.references.flatMap((reference, argument): NamedArgument[] => {
    if (reference.kind !== 'named') return []
    const tensor = tensors?.get(reference.name)
    const buffer = region.kernel.arguments[argument]
    if (!tensor || !ids || !buffer)
      throw new InternalError(`rows of '${reference.name}' are named, and it is in memory`)
    const { count } = ids(reference.ids)
    const rowBytes = bufferBytes(buffer) / count
    return [{ tensor: tensor.place, tensorBytes: tensor.bytes, ids: reference.ids, count, rowBytes }]
  })
  return { region, streamed, named }
}

function firstsOf(ids: string): string {
  return `first occurrences in ${ids}`
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
