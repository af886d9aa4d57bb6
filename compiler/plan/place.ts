// The memory plan: a place for every declared value and for every intermediate result of every function, kernels that
// are equal merged into one. What comes out is the program; nothing is decided after this.

import { InternalError } from '../diagnostic.ts'
import type { Place as SourcePlace } from '../diagnostic.ts'
import { dtypeBytes } from '../graph/axis.ts'
import type { DType } from '../graph/axis.ts'
import type { Graph, Node, Provenance, StoredLayout } from '../graph/node.ts'
import type { Kernel, SizeBound } from '../kernel/ir.ts'
import { printKernel } from '../kernel/print.ts'
import type { LoweredRegion } from '../schedule/lowering.ts'
import type { ScheduledFunction } from '../schedule/schedule.ts'
import type { ValueRef } from '../schedule/scope.ts'
import { computedAgain } from './again.ts'
import { align, placeInArena } from './arena.ts'
import type { Lifetime } from './arena.ts'
import { Origins } from './origin.ts'
import type { KernelOrigin } from './origin.ts'
import type { Launch, Place, Program, ProgramFunction, ProgramOutput, ProgramValue } from './program.ts'

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
  readonly buffers: readonly ArenaBuffer[]
}

export interface PlannedProgram {
  readonly program: Program
  readonly arenas: readonly ArenaUse[]
  /** By the name of the kernel. */
  readonly origins: ReadonlyMap<string, KernelOrigin>
}

export function planProgram(
  name: string,
  graph: Graph,
  functions: readonly ScheduledFunction[],
  provenance: Provenance,
): PlannedProgram {
  const values = new DeclaredPlaces(graph)
  const kernels = new KernelTable()
  const origins = new Origins(provenance)
  const arenas: ArenaUse[] = []
  const planned = functions.map((fn): ProgramFunction => {
    const places = new FunctionPlaces(fn, provenance)
    arenas.push(places.use)
    const resolve = (reference: ValueRef): Place =>
      reference.kind === 'declared'
        ? values.place(reference.name)
        : reference.kind === 'table'
          ? values.table(reference.node)
          : places.place(reference.node)
    const launches = fn.regions.map((region): Launch => {
      const kernel = kernels.add(region.kernel)
      origins.note(kernels.list[kernel]?.name ?? '', fn.fn.name, region)
      return { kernel, arguments: region.references.map(resolve), label: labelOf(region, provenance) }
    })
    const outputs = fn.fn.outputs.map(({ name: output, node }): ProgramOutput => {
      const target = fn.targets.get(node)
      const place = target === undefined ? places.place(node) : values.place(target)
      return { name: output, dtype: node.dtype, shape: fn.layout(node).map((axis) => axis.size), place }
    })
    return { name: fn.fn.name, launches, outputs }
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
  frozen = 0

  constructor(graph: Graph) {
    for (const declared of graph.declarations.values()) {
      this.#declare(declared.name, declared.role, declared.dtype, shapeOf(declared.stored), declared.initial)
    }
  }

  #declare(
    name: string,
    role: ProgramValue['role'],
    dtype: DType,
    shape: readonly number[],
    initial: ProgramValue['initial'],
  ): Place {
    const bytes = shape.reduce((product, size) => product * size, 1) * dtypeBytes[dtype]
    const space = role === 'input' ? 'inputs' : 'state'
    const place: Place =
      role === 'frozen' ? { space: 'frozen', index: this.frozen++ } : { space, offset: this.#used[space] }
    if (role !== 'frozen') this.#used[space] += align(bytes)
    this.#places.set(name, place)
    this.list.push({ name, role, dtype, shape, bytes, place, ...(initial ? { initial } : {}) })
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

/** Places of what one function computes for itself. */
class FunctionPlaces {
  readonly use: ArenaUse
  readonly #places = new Map<Node, Place>()

  constructor(fn: ScheduledFunction, provenance: Provenance) {
    const lives = new Map<Node, { first: number; last: number }>()
    const touch = (node: Node, launch: number): void => {
      const known = lives.get(node)
      lives.set(node, {
        first: Math.min(known?.first ?? launch, launch),
        last: Math.max(known?.last ?? launch, launch),
      })
    }
    for (const [launch, region] of fn.regions.entries()) {
      for (const reference of region.references) if (reference.kind === 'node') touch(reference.node, launch)
    }
    for (const { node } of fn.fn.outputs) if (!fn.targets.has(node)) touch(node, fn.regions.length)
    const nodes = [...lives.keys()]
    const lifetimes = nodes.map((node): Lifetime => {
      const bytes = node.axes.reduce((product, axis) => product * axis.size, 1) * dtypeBytes[node.dtype]
      return { bytes, ...(lives.get(node) as { first: number; last: number }) }
    })
    const arena = placeInArena(lifetimes)
    const again = computedAgain(fn.fn)
    nodes.forEach((node, index) => this.#places.set(node, { space: 'arena', offset: arena.offsets[index] as number }))
    this.use = {
      fn: fn.fn.name,
      peak: arena.peak,
      lowerBound: arena.lowerBound,
      buffers: nodes.map((node, index) => ({
        label: provenance.name(node) ?? node.op,
        ...(lifetimes[index] as Lifetime),
        offset: arena.offsets[index] as number,
        layer: node.layer,
        place: provenance.place(node),
        isAgain: again.has(node),
      })),
    }
  }

  place(node: Node): Place {
    const place = this.#places.get(node)
    if (!place) throw new InternalError(`a result of ${node.op} has no place`)
    return place
  }
}

function labelOf(region: LoweredRegion, provenance: Provenance): string {
  const named = region.region.nodes.map((node) => provenance.name(node)).find((name) => name !== undefined)
  const layer = region.region.nodes[0]?.layer
  return `${named ?? region.region.kind}${layer === undefined ? '' : ` layer ${layer}`}`
}

/** Kernels by their text: layers of the same shape share code. */
class KernelTable {
  readonly list: Kernel[] = []
  readonly #known = new Map<string, number>()

  add(kernel: Kernel): number {
    const text = printKernel(kernel)
    const known = this.#known.get(text)
    if (known !== undefined) return known
    const place = this.list.length
    this.list.push({ ...kernel, name: `${kernel.name}_${place}` })
    this.#known.set(text, place)
    return place
  }
}
