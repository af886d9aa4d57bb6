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
import { align, placeInArena } from './arena.ts'
import type { Placing } from './arena.ts'
import { FunctionPlaces } from './functionPlaces.ts'
import type { ArenaUse, StreamedTensors } from './functionPlaces.ts'
import { Origins } from './origin.ts'
import type { KernelOrigin } from './origin.ts'
import type { Launch, Place, Program, ProgramFunction, ProgramOutput, ProgramValue, RowsRead } from './program.ts'
import { StoragePlanner } from './storage.ts'
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
  /** `placeInArena` unless given. */
  readonly placing?: Placing
}

/**
 * `storage`: frozen tensors need not all be in memory; those that are not are read by ranges into the arena. What memory is
 * left over is given to those that would be read most often.
 */
export function planProgram(
  name: string,
  graph: Graph,
  functions: readonly ScheduledFunction[],
  provenance: Provenance,
  options: PlanOptions = {},
): PlannedProgram {
  const { storage, placing = placeInArena } = options
  if (!storage) return planWith(name, graph, functions, provenance, placing, undefined)
  const limit = storage.limit(needsOf(graph, functions))
  const planner = new StoragePlanner(storage, limit)
  const plan = (extra: ReadonlySet<string>): PlannedProgram => {
    const isStreamed = (declared: Declaration): boolean =>
      declared.role === 'frozen' && declaredBytes(declared) > storage.residentBytes && !extra.has(declared.name)
    return planWith(name, graph, functions, provenance, placing, { planner, isStreamed })
  }
  const least = plan(new Set())
  const extra = worthKeeping(least, limit)
  if (extra.size === 0) return least
  const kept = plan(extra)
  return neededBytes(kept) <= limit ? kept : least
}

function needsOf(graph: Graph, functions: readonly ScheduledFunction[]): ProgramNeeds {
  const places = new DeclaredPlaces(graph, () => false)
  const regions = functions.flatMap((fn) => fn.regions)
  for (const { references } of regions)
    for (const reference of references) if (reference.kind === 'table') places.table(reference.node)
  const kernels = [...new Set(regions.map(({ kernel }) => kernel))]
  return { stateBytes: places.bytes('state'), inputBytes: places.bytes('inputs'), kernels }
}

/** Bytes of the arena and of the frozen tensors in memory. */
function neededBytes({ program }: PlannedProgram): number {
  return program.values.reduce(
    (sum, { role, streamed, bytes }) => sum + (role === 'frozen' && !streamed ? bytes : 0),
    program.arenaBytes,
  )
}

/** Of the streamed tensors those that are read most often for their size, as long as there is room. */
function worthKeeping(planned: PlannedProgram, limit: number): Set<string> {
  const read = new Map<number, number>()
  for (const { reads = [] } of planned.program.functions)
    for (const { index, bytes } of reads) read.set(index, (read.get(index) ?? 0) + bytes)
  const times = (value: ProgramValue): number =>
    value.place.space === 'frozen' ? (read.get(value.place.index) ?? 0) / value.bytes : 0
  let room = (limit - neededBytes(planned)) * SPARE_SHARE
  const kept = new Set<string>()
  const streamed = planned.program.values.filter((value) => value.streamed && times(value) > 0)
  for (const value of streamed.toSorted((a, b) => times(b) - times(a))) {
    if (value.bytes > room) continue
    room -= value.bytes
    kept.add(value.name)
  }
  return kept
}

/** Some of what is left over is for what a denser arena wastes. */
const SPARE_SHARE = 0.97

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
  storage: PlannedStorage | undefined,
): PlannedProgram {
  const values = new DeclaredPlaces(graph, storage?.isStreamed ?? (() => false))
  const kernels = new KernelTable()
  const origins = new Origins(provenance)
  const arenas: ArenaUse[] = []
  const onDisk = storage && { planner: storage.planner, tensors: values.streamed, kept: values.keptBytes }
  const planned = functions.map((fn): ProgramFunction => {
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
      }
    }
    const launches = fn.regions.map((region, place): Launch => {
      const kernel = kernels.add(region.kernel)
      origins.note(kernels.list[kernel]?.name ?? '', fn.fn.name, region)
      const parts = places.parts(place)
      return {
        kernel,
        arguments: region.references.map((reference) => resolve(reference, place)),
        label: labelOf(region, provenance),
        ...(parts ? { parts } : {}),
      }
    })
    const outputs = fn.fn.outputs.map(({ name: output, node }): ProgramOutput => {
      const target = fn.targets.get(node)
      const place = target === undefined ? places.place(node) : values.place(target)
      return { name: output, dtype: node.dtype, shape: fn.layout(node).map((axis) => axis.size), place }
    })
    const rows = values.rowsOf(fn)
    return {
      name: fn.fn.name,
      launches,
      outputs,
      ...(places.reads.length > 0 ? { reads: places.reads } : {}),
      ...(rows.length > 0 ? { rows } : {}),
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
    inputBytes: values.bytes('inputs'),
    frozenCount: values.frozen,
  }
  return { program, arenas, origins: origins.byKernel }
}

/** Places of declared values and of the compiler's tables. */
class DeclaredPlaces {
  readonly list: ProgramValue[] = []
  readonly #places = new Map<string, Place>()
  readonly #used = { state: 0, inputs: 0 }
  readonly #graph: Graph
  frozen = 0

  constructor(graph: Graph, isStreamed: (declared: Declaration) => boolean) {
    this.#graph = graph
    for (const declared of graph.declarations.values()) {
      const { name, role, dtype, stored, initial, rows } = declared
      const more = { ...(isStreamed(declared) ? { streamed: true as const } : {}), ...(rows ? { rows } : {}) }
      this.#declare(name, role, dtype, shapeOf(stored), initial, more)
    }
  }

  /** Frozen tensors that are not in memory. */
  get streamed(): StreamedTensors {
    return new Map(
      this.list.flatMap(({ name, place, bytes, streamed }): [string, { index: number; bytes: number }][] =>
        streamed && place.space === 'frozen' ? [[name, { index: place.index, bytes }]] : [],
      ),
    )
  }

  /** Bytes of frozen tensors in memory. */
  get keptBytes(): number {
    return this.list.reduce((sum, { role, bytes, streamed }) => sum + (role === 'frozen' && !streamed ? bytes : 0), 0)
  }

  /** What a function needs fetched before it starts. */
  rowsOf({ regions }: ScheduledFunction): RowsRead[] {
    const names = new Set(
      regions.flatMap(({ references }) => references.flatMap((one) => (one.kind === 'declared' ? [one.name] : []))),
    )
    return this.list.flatMap(({ name, bytes, place, rows }): RowsRead[] => {
      if (!rows || !names.has(name)) return []
      const table = this.place(rows.table)
      const ids = this.#graph.declarations.get(rows.ids)
      if (table.space !== 'frozen' || !ids) throw new InternalError(`'${name}' has no table to be fetched from`)
      const count = shapeOf(ids.stored).reduce((product, size) => product * size, 1)
      return [{ index: table.index, ids: this.place(rows.ids), to: place, count, rowBytes: bytes / count }]
    })
  }

  #declare(
    name: string,
    role: ProgramValue['role'],
    dtype: DType,
    shape: readonly number[],
    initial: ProgramValue['initial'],
    more: Pick<ProgramValue, 'streamed' | 'rows'> = {},
  ): Place {
    const bytes = shape.reduce((product, size) => product * size, 1) * dtypeBytes[dtype]
    const space = role === 'input' ? 'inputs' : 'state'
    const place: Place =
      role === 'frozen' ? { space: 'frozen', index: this.frozen++ } : { space, offset: this.#used[space] }
    if (role !== 'frozen') this.#used[space] += align(bytes)
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

/** Kernels by their text: layers of the same shape share code. */
/** Plans are made again for other budgets and with other tensors in memory, of the same kernels. */
const texts = new WeakMap<Kernel, string>()

function textOf(kernel: Kernel): string {
  const text = texts.get(kernel) ?? printKernel(kernel)
  texts.set(kernel, text)
  return text
}

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
