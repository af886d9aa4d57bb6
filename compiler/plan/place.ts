// The memory plan: a place for every declared value and for every intermediate result of every function, kernels that
// are equal merged into one. What comes out is the program; nothing is decided after this.

import { InternalError } from '../diagnostic.ts'
import { dtypeBytes } from '../graph/axis.ts'
import type { DType } from '../graph/axis.ts'
import type { Declaration, Graph, Node, Provenance, StoredLayout } from '../graph/node.ts'
import type { Kernel, SizeBound } from '../kernel/ir.ts'
import { printKernel } from '../kernel/print.ts'
import type { LoweredRegion } from '../schedule/lowering.ts'
import type { ScheduledFunction } from '../schedule/schedule.ts'
import type { ValueRef } from '../schedule/scope.ts'
import { declaredBytes } from '../schedule/shards.ts'
import { align, placeInArena, unplaced } from './arena.ts'
import type { Placing } from './arena.ts'
import { carriedValues, isCarried } from './carried.ts'
import { FunctionPlaces } from './functionPlaces.ts'
import type { ArenaUse, CarriedValue, StreamedTensors } from './functionPlaces.ts'
import { Origins } from './origin.ts'
import type { KernelOrigin } from './origin.ts'
import { rangeTransfers } from './program.ts'
import type { Launch, Place, Program, ProgramFunction, ProgramOutput, ProgramValue, RowsRead, TensorPlace } from './program.ts' // prettier-ignore
import { StoragePlanner, tensorKey } from './storage.ts'
import type { ProgramNeeds, StorageOptions } from './storage.ts'

export type { ArenaBuffer, ArenaUse, StorageUse } from './functionPlaces.ts'
export type { ProgramNeeds, StorageOptions } from './storage.ts'

export interface PlannedProgram {
  readonly program: Program
  readonly arenas: readonly ArenaUse[]
  /** By the name of the kernel. */
  readonly origins: ReadonlyMap<string, KernelOrigin>
}

export interface PlanOptions {
  readonly storage?: StorageOptions
  /** State that is zero between two steps: no saved state has it, and in storage it needs no versions. */
  readonly sums?: ReadonlySet<string>
  /** `placeInArena` unless given. */
  readonly placing?: Placing
  /** Frozen tensors that are in memory before ranges get any, as far as there is room; those first that are worth most. */
  readonly keep?: readonly string[]
}

/**
 * `storage`: not all tensors need be in memory; of those that are not, ranges come into the arena, and go back where they are
 * changed. What memory is left over is given to those that would be moved most often.
 */
export function planProgram(
  name: string,
  graph: Graph,
  functions: readonly ScheduledFunction[],
  provenance: Provenance,
  options: PlanOptions = {},
): PlannedProgram {
  const { storage, sums = new Set(), placing = placeInArena, keep } = options
  if (!storage) return planWith(name, graph, functions, provenance, placing, sums, undefined)
  const most = storage.limit(needsOf(graph, functions))
  const named = namedTensors(graph, functions)
  const plan = (extra: ReadonlySet<string>, within: number, by: Placing): PlannedProgram => {
    const isStreamed = (declared: Declaration): boolean =>
      canStream(declared, storage) && declaredBytes(declared) > storage.residentBytes && !extra.has(declared.name)
    const planner = new StoragePlanner(storage, within)
    return planWith(name, graph, functions, provenance, by, sums, { planner, isStreamed })
  }
  // Without memory for anything that need not be there, there is one plan.
  if (most <= 0) return plan(new Set(), 0, placing)
  // A tensor that changes is moved in several functions and both ways: it is kept before ranges are within one, as is what was
  // chosen for that. What is only read is kept with what reading ahead has left over.
  const keepsFirst = storage.state === true || keep !== undefined
  const first = keepsFirst ? plan(new Set(), 0, unplaced) : plan(new Set(), most, placing)
  // No plan after it has more ranges.
  const limit = most - (storage.tableBytes?.(first.program) ?? 0)
  for (const share of storage.state ? STATE_SHARES : keep ? CHOSEN_SHARES : FROZEN_SHARES) {
    const room = limit - neededBytes(first) - (keep ? RANGES_AHEAD * storage.shardBytes : 0)
    const extra = worthKeeping(first, room * share, named, keep)
    if (extra.size === 0) break
    const kept = plan(extra, limit, placing)
    if (neededBytes(kept) <= limit) return kept
  }
  return keepsFirst || neededBytes(first) > limit ? plan(new Set(), limit, placing) : first
}

/** Of the memory that is left over, what tensors get: some of it is for what a denser arena wastes, or for reading ahead. */
const FROZEN_SHARES = [0.97]
const CHOSEN_SHARES = [0.99, 0.9]
const STATE_SHARES = [0.95, 0.85, 0.6]
/** Beside the range that is used, which has its room in any case. */
const RANGES_AHEAD = 2

function canStream({ role }: Declaration, { state = false }: StorageOptions): boolean {
  return role === 'frozen' || (state && (role === 'trainable' || role === 'state'))
}

function needsOf(graph: Graph, functions: readonly ScheduledFunction[]): ProgramNeeds {
  const places = new DeclaredPlaces(graph, () => false)
  const regions = functions.flatMap((fn) => fn.regions)
  const kernels = [...new Set(regions.map(({ kernel }) => kernel))]
  return { inputBytes: places.bytes('inputs'), kernels }
}

/** State of which programs read or write single rows: it is in storage or no kernel could do so. */
function namedTensors({ declarations }: Graph, functions: readonly ScheduledFunction[]): Set<string> {
  const references = functions.flatMap(({ regions }) => regions.flatMap((region) => region.references))
  const named = references.flatMap((reference) => (reference.kind === 'named' ? [reference.name] : []))
  const fetched = [...declarations.values()].flatMap(({ rows }) => (rows ? [rows.table] : []))
  return new Set([...named, ...fetched.filter((table) => declarations.get(table)?.role !== 'frozen')])
}

/** Bytes of the arena, of the frozen tensors in memory and of the state there. */
function neededBytes({ program }: PlannedProgram): number {
  return program.values.reduce(
    (sum, { role, streamed, bytes }) => sum + (role === 'frozen' && !streamed ? bytes : 0),
    program.arenaBytes + program.stateBytes,
  )
}

/** Of the tensors in storage those that were chosen, then those that are moved most often for their size, as long as there is room. */
function worthKeeping(
  planned: PlannedProgram,
  bytes: number,
  named: ReadonlySet<string>,
  chosen: readonly string[] = [],
): Set<string> {
  const moved = new Map<string, number>()
  for (const { transfers } of planned.program.functions)
    for (const { tensor, bytes } of rangeTransfers(transfers))
      moved.set(tensorKey(tensor), (moved.get(tensorKey(tensor)) ?? 0) + bytes)
  const times = ({ place, ...value }: ProgramValue): number =>
    'index' in place ? (moved.get(tensorKey(place)) ?? 0) / value.bytes : 0
  let room = bytes
  const kept = new Set<string>()
  const streamed = planned.program.values.filter(
    (value) => value.streamed && !named.has(value.name) && times(value) > 0,
  )
  const isChosen = new Set(chosen)
  const first = ({ name }: ProgramValue): number => (isChosen.has(name) ? 1 : 0)
  for (const value of streamed.toSorted((a, b) => first(b) - first(a) || times(b) - times(a))) {
    if (value.bytes > room) continue
    room -= value.bytes
    kept.add(value.name)
  }
  return kept
}

interface PlannedStorage {
  readonly planner: StoragePlanner
  readonly isStreamed: (declared: Declaration) => boolean
}

function planWith(
  name: string,
  graph: Graph,
  functions: readonly ScheduledFunction[],
  provenance: Provenance,
  placing: Placing,
  sums: ReadonlySet<string>,
  storage: PlannedStorage | undefined,
): PlannedProgram {
  const values = new DeclaredPlaces(graph, storage?.isStreamed ?? (() => false), sums)
  const kernels = new KernelTable()
  const origins = new Origins(provenance)
  const arenas: ArenaUse[] = []
  // What lies in the state must be known before the arena gets what is left.
  for (const { references } of functions.flatMap((fn) => fn.regions))
    for (const reference of references) if (reference.kind === 'table') values.table(reference.node)
  const onDisk = storage && {
    planner: storage.planner,
    tensors: values.streamed,
    kept: values.keptBytes + values.bytes('state'),
    ids: (ids: string) => values.ids(ids),
    hasVersions: (tensor: TensorPlace) => values.hasVersions(tensor),
    carried: values.carried,
    carriedBytes: values.carriedBytes,
  }
  const useful = functions.filter((fn) => !fn.forVersions || values.list.some(({ versions }) => versions))
  const planned = useful.map((fn): ProgramFunction => {
    const places = new FunctionPlaces(fn, provenance, placing, onDisk)
    arenas.push(places.use)
    const resolve = (reference: ValueRef, launch: number): Place => {
      switch (reference.kind) {
        case 'declared':
          return values.place(reference.name)
        case 'table':
          return values.table(reference.node)
        case 'node':
          return places.place(reference.node)
        case 'carry':
          return places.carried(launch, reference.buffer)
        case 'named':
          return places.named(launch, reference.name, reference.ids)
        case 'firsts':
          return places.firstOccurrences(reference.ids)
      }
    }
    const launches = places.use.regions.map((region, place): Launch => {
      const kernel = kernels.add(region.kernel)
      origins.note(kernels.list[kernel]?.name ?? '', fn.fn.name, region)
      const parts = places.parts(place)
      const transfers = places.waitsOf(place)
      return {
        kernel,
        arguments: region.references.map((reference) => resolve(reference, place)),
        label: labelOf(region, provenance),
        ...(parts ? { parts } : {}),
        ...(transfers > 0 ? { transfers } : {}),
      }
    })
    const outputs = fn.fn.outputs.map(({ name: output, node }): ProgramOutput => {
      const target = fn.targets.get(node)
      const place = target === undefined ? places.place(node) : values.place(target)
      return { name: output, dtype: node.dtype, shape: fn.layout(node).map((axis) => axis.size), place }
    })
    const rows = values.rowsOf(fn)
    const { transfers, firsts } = places
    // Either half of an update may have nothing in storage.
    const updates = fn.updates
      ? values.list.some(({ versions }) => versions)
      : rangeTransfers(transfers).some(({ kind, tensor }) => kind === 'write' && values.hasVersions(tensor))
    return {
      name: fn.fn.name,
      launches,
      outputs,
      ...(transfers.length > 0 ? { transfers } : {}),
      ...(rows.length > 0 ? { rows } : {}),
      ...(firsts.length > 0 ? { firsts } : {}),
      ...(updates ? { updates: fn.updates ?? ('whole' as const) } : {}),
    }
  })
  const sizes = new Map<string, SizeBound>()
  for (const axis of graph.axes)
    if (axis.extent !== undefined) sizes.set(axis.extent, { name: axis.extent, bound: axis.size })
  const program: Program = {
    name,
    sizes: [...sizes.values()],
    kernels: kernels.list,
    values: values.list,
    functions: planned,
    arenaBytes: Math.max(0, ...arenas.map((arena) => arena.peak)),
    stateBytes: values.bytes('state'),
    ...(values.counts.stored > 0 ? { carriedBytes: values.carriedBytes } : {}),
    inputBytes: values.bytes('inputs'),
    frozenCount: values.counts.frozen,
    storedCount: values.counts.stored,
  }
  return { program, arenas, origins: origins.byKernel }
}

/** Places of declared values and of the compiler's tables. */
class DeclaredPlaces {
  readonly list: ProgramValue[] = []
  readonly #places = new Map<string, Place>()
  readonly #used = { state: 0, inputs: 0 }
  readonly #graph: Graph
  readonly counts = { frozen: 0, stored: 0 }
  /** Of the state, from its beginning. */
  readonly carriedBytes: number

  constructor(graph: Graph, isStreamed: (declared: Declaration) => boolean, sums: ReadonlySet<string> = new Set()) {
    this.#graph = graph
    const declarations = [...graph.declarations.values()]
    const isKept = (declared: Declaration): boolean =>
      !isStreamed(declared) && !sums.has(declared.name) && isCarried(declared)
    // What a version in storage holds of the state lies at its beginning.
    const isStored = declarations.some((declared) => declared.role !== 'frozen' && isStreamed(declared))
    const declare = (declared: Declaration): void => {
      const { name, role, dtype, stored, initial, rows } = declared
      const streamed = isStreamed(declared)
      const sum = sums.has(name)
      const more = {
        ...(streamed ? { streamed: true as const } : {}),
        ...(sum ? { sum: true as const } : {}),
        ...(streamed && role !== 'frozen' && !sum ? { versions: true as const } : {}),
        ...(rows ? { rows } : {}),
      }
      this.#declare(name, role, dtype, shapeOf(stored), initial, more)
    }
    if (isStored) declarations.filter(isKept).forEach(declare)
    this.carriedBytes = this.#used.state
    declarations.filter((declared) => !isStored || !isKept(declared)).forEach(declare)
    const order = new Map(declarations.map(({ name }, place) => [name, place]))
    this.list.sort((a, b) => (order.get(a.name) ?? 0) - (order.get(b.name) ?? 0))
  }

  /** What a version holds of the state in memory, in the order of offsets. */
  get carried(): CarriedValue[] {
    const found = carriedValues({ values: this.list }).flatMap(({ name, bytes, place }): CarriedValue[] =>
      place.space === 'state' && place.offset < this.carriedBytes ? [{ name, bytes, offset: place.offset }] : [],
    )
    return found.sort((a, b) => a.offset - b.offset)
  }

  /** Tensors that are not in memory. */
  get streamed(): StreamedTensors {
    return new Map(
      this.list.flatMap(({ name, place, bytes, streamed }): [string, { place: TensorPlace; bytes: number }][] =>
        streamed && 'index' in place ? [[name, { place, bytes }]] : [],
      ),
    )
  }

  /** Bytes of frozen tensors in memory. */
  get keptBytes(): number {
    return this.list.reduce((sum, { role, bytes, streamed }) => sum + (role === 'frozen' && !streamed ? bytes : 0), 0)
  }

  hasVersions({ space, index }: TensorPlace): boolean {
    return this.list.some(({ place, versions }) => versions && place.space === space && place.index === index)
  }

  /** Where an input of ids lies, and how many they are. */
  ids(name: string): { readonly place: Place; readonly count: number } {
    const declared = this.#graph.declarations.get(name)
    if (!declared) throw new InternalError(`there are no ids '${name}'`)
    return { place: this.place(name), count: shapeOf(declared.stored).reduce((product, size) => product * size, 1) }
  }

  /** What a function needs fetched before it starts. */
  rowsOf({ regions, updated = new Set() }: ScheduledFunction): RowsRead[] {
    const names = new Set(
      regions.flatMap(({ references }) => references.flatMap((one) => (one.kind === 'declared' ? [one.name] : []))),
    )
    return this.list.flatMap(({ name, bytes, place, rows }): RowsRead[] => {
      if (!rows || !names.has(name)) return []
      const tensor = this.place(rows.table)
      if (!('index' in tensor)) throw new InternalError(`'${name}' has no table to be fetched from`)
      const ids = this.ids(rows.ids)
      const next = updated.has(rows.table) ? { isNext: true as const } : {}
      return [{ tensor, ids: ids.place, to: place, count: ids.count, rowBytes: bytes / ids.count, ...next }]
    })
  }

  #declare(
    name: string,
    role: ProgramValue['role'],
    dtype: DType,
    shape: readonly number[],
    initial: ProgramValue['initial'],
    more: Pick<ProgramValue, 'streamed' | 'sum' | 'versions' | 'rows'> = {},
  ): Place {
    const bytes = shape.reduce((product, size) => product * size, 1) * dtypeBytes[dtype]
    const space = role === 'input' ? 'inputs' : 'state'
    const tensors = role === 'frozen' ? 'frozen' : more.streamed ? 'stored' : undefined
    const place: Place = tensors
      ? { space: tensors, index: this.counts[tensors]++ }
      : { space, offset: this.#used[space] }
    if (!tensors) this.#used[space] += align(bytes)
    this.#places.set(name, place)
    this.list.push({ name, role, dtype, shape, bytes, place, ...(initial ? { initial } : {}), ...more })
    return place
  }

  place(name: string): Place {
    const place = this.#places.get(name)
    if (!place) throw new InternalError(`'${name}' has no place`)
    return place
  }

  table(node: Node<'table'>): Place {
    const { axis, values } = node.attrs
    const name = `table/${axis.name}/${values.join()}`
    return this.#places.get(name) ?? this.#declare(name, 'state', 'f32', [axis.size], { kind: 'values', values })
  }

  bytes(space: 'state' | 'inputs'): number {
    return this.#used[space]
  }
}

function shapeOf(stored: StoredLayout): number[] {
  return stored.map((dimension) => dimension.reduce((product, axis) => product * axis.size, 1))
}

function labelOf(region: LoweredRegion, provenance: Provenance): string {
  const named = region.region.nodes.map((node) => provenance.name(node)).find((name) => name !== undefined)
  const layer = region.region.nodes[0]?.layer
  return `${named ?? region.region.kind}${layer === undefined ? '' : ` layer ${layer}`}`
}

/** Plans are made again for other budgets and with other tensors in memory, of the same kernels. */
const texts = new WeakMap<Kernel, string>()

function textOf(kernel: Kernel): string {
  const text = texts.get(kernel) ?? printKernel(kernel)
  texts.set(kernel, text)
  return text
}

/** Kernels by their text: layers of the same shape share code. */
class KernelTable {
  readonly list: Kernel[] = []
  readonly #known = new Map<string, number>()

  add(kernel: Kernel): number {
    const text = textOf(kernel)
    const known = this.#known.get(text)
    if (known !== undefined) return known
    const place = this.list.length
    this.list.push({ ...kernel, name: `${kernel.name}_${place}` })
    this.#known.set(text, place)
    return place
  }
}
