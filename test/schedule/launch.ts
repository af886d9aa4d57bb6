// Runs a scheduled function with the kernel interpreter, as a program would: kernels in order over memory that holds
// rubbish wherever nothing was written. Results come back as canonical tensors; writes are read from their declared place.

import type { Axis, DType } from '../../compiler/graph/axis.ts'
import { float32 } from '../../compiler/graph/float32.ts'
import { interpret } from '../../compiler/graph/interpret.ts'
import type { Graph, GraphFunction } from '../../compiler/graph/node.ts'
import { countElements, extentOf, makeTensor } from '../../compiler/graph/tensor.ts'
import type { Extents, Tensor } from '../../compiler/graph/tensor.ts'
import { narrowBf16, narrowF16, widenBf16, widenF16 } from '../../compiler/kernel/halves.ts'
import { runKernel } from '../../compiler/kernel/interpret.ts'
import type { KernelArray } from '../../compiler/kernel/interpret.ts'
import { bufferElements } from '../../compiler/kernel/ir.ts'
import { verifyKernel } from '../../compiler/kernel/verify.ts'
import type { CutPart } from '../../compiler/plan/parts.ts'
import type { LoweredRegion } from '../../compiler/schedule/lowering.ts'
import type { ScheduleProfile } from '../../compiler/schedule/profile.ts'
import type { ScheduledFunction } from '../../compiler/schedule/schedule.ts'
import type { ValueRef } from '../../compiler/schedule/scope.ts'
import { emptyArray, firstsOf, NamedRows, runInParts } from './rowsInMemory.ts'

/** Small tiles and little cache, so that blocks, edges and packing all occur at small sizes. */
export const smallProfile = (lanes: number, threads = 2): ScheduleProfile => ({
  name: `test ${lanes}`,
  lanes,
  tile: { rows: 3, vectors: 2 },
  otherTiles: [{ rows: 4, vectors: 1 }],
  fetchesAhead: true,
  privateCache: 1 << 12,
  threads,
})

const narrowers: Partial<Record<DType, (value: number) => number>> = { bf16: narrowBf16, f16: narrowF16 }
const wideners: Partial<Record<DType, (value: number) => number>> = { bf16: widenBf16, f16: widenF16 }

/** Rounds the values of declarations that are stored in 16 bits, so that both sides read the same numbers. */
export function roundNarrow(graph: Graph, values: ReadonlyMap<string, Tensor>): void {
  for (const [name, { data }] of values) {
    const dtype = graph.declarations.get(name)?.dtype ?? 'f32'
    const [narrow, widen] = [narrowers[dtype], wideners[dtype]]
    if (narrow && widen) data.forEach((value, index) => void (data[index] = widen(narrow(value))))
  }
}

/** Calls `visit` with the place of each element in a dense tensor and in memory laid out at the bounds. */
export function eachPlace(
  tensor: Tensor,
  layout: readonly Axis[],
  visit: (flat: number, offset: number) => void,
): void {
  const strides = new Map<Axis, number>()
  layout.reduceRight((stride, axis) => {
    strides.set(axis, stride)
    return stride * axis.size
  }, 1)
  for (let flat = 0; flat < tensor.data.length; flat++) {
    let rest = flat
    let offset = 0
    for (let position = tensor.axes.length - 1; position >= 0; position--) {
      const extent = tensor.extents[position] as number
      offset += (rest % extent) * (strides.get(tensor.axes[position] as Axis) ?? 0)
      rest = Math.floor(rest / extent)
    }
    visit(flat, offset)
  }
}

export type GridOrder = (count: number) => readonly number[]

export const backwards: GridOrder = (count) => Array.from({ length: count }, (_, place) => count - 1 - place)

export interface Launch {
  readonly graph: Graph
  readonly scheduled: ScheduledFunction
  readonly values: ReadonlyMap<string, Tensor>
  readonly extents: Extents
  /** The nest before its directives, or the kernel that backends print. */
  readonly stage: 'nest' | 'kernel'
  readonly gridOrder?: GridOrder
  /** Launches in parts, each with nothing but its own ranges in memory. */
  readonly parts?: (region: LoweredRegion) => readonly CutPart[] | undefined
}

/** What has memory of its own for the whole function. */
type PlacedRef = Extract<ValueRef, { kind: 'node' | 'declared' | 'table' }>

/** Outputs and writes of the function by name. */
export function launch({ graph, scheduled, values, extents, stage, gridOrder, parts }: Launch): Map<string, Tensor> {
  const memory = new Map<string, KernelArray>()
  const place = (ref: PlacedRef): KernelArray => {
    const key = ref.kind === 'declared' ? ref.name : `${ref.kind} ${ref.node.id}`
    const known = memory.get(key)
    if (known) return known
    const { axes, dtype } = placeOf(ref)
    const made = emptyArray(dtype, countElements(axes.map((axis) => axis.size)))
    if (ref.kind === 'table') made.set(ref.node.attrs.values)
    const given = ref.kind === 'declared' ? values.get(ref.name) : undefined
    const narrow = narrowers[dtype] ?? ((value: number) => value)
    if (given) eachPlace(given, axes, (flat, offset) => void (made[offset] = narrow(given.data[flat] as number)))
    memory.set(key, made)
    return made
  }
  const placeOf = (ref: PlacedRef): { axes: readonly Axis[]; dtype: DType } => {
    if (ref.kind === 'node') return { axes: scheduled.layout(ref.node), dtype: ref.node.dtype }
    if (ref.kind === 'table') return { axes: [ref.node.attrs.axis], dtype: 'f32' }
    const declared = graph.declarations.get(ref.name)
    if (!declared) throw new Error(`no declaration ${ref.name}`)
    return { axes: declared.stored.flat(), dtype: declared.dtype }
  }
  for (const region of scheduled.regions) {
    const kernel = region[stage]
    const named: NamedRows[] = []
    const memoryOf = (ref: ValueRef, elements: number): KernelArray => {
      // What a launch's phases pass on is nobody else's.
      if (ref.kind === 'carry') return emptyArray(ref.buffer.dtype, elements)
      if (ref.kind === 'firsts') return firstsOf(place({ kind: 'declared', name: ref.ids }))
      if (ref.kind !== 'named') return place(ref)
      const tensor = { kind: 'declared', name: ref.name } as const
      const ids = place({ kind: 'declared', name: ref.ids })
      const rows = new NamedRows(place(tensor), placeOf(tensor).dtype, ids, elements / ids.length)
      named.push(rows)
      return rows.memory
    }
    const buffers = new Map(
      kernel.arguments.map((buffer, index) => [
        buffer.name,
        memoryOf(region.references[index] as ValueRef, bufferElements(buffer)),
      ]),
    )
    const run = {
      buffers,
      sizes: extents as Record<string, number>,
      arithmetic: float32,
      ...(gridOrder ? { gridOrder } : {}),
    }
    const cut = parts?.(region)
    if (cut) runInParts(kernel, cut, run)
    else runKernel(kernel, run)
    for (const rows of named) rows.copyBack()
  }
  const fetch = (ref: PlacedRef, canonical: readonly Axis[], isFloat: boolean): Tensor => {
    const { axes, dtype } = placeOf(ref)
    const sizes = canonical.map((axis) => extentOf(axis, extents))
    const length = countElements(sizes)
    const tensor = makeTensor(canonical, sizes, isFloat ? new Float32Array(length) : new Int32Array(length))
    const data = place(ref)
    const widen = wideners[dtype] ?? ((value: number) => value)
    eachPlace(tensor, axes, (flat, offset) => void (tensor.data[flat] = widen(data[offset] as number)))
    return tensor
  }
  const results = new Map<string, Tensor>()
  for (const { name, node } of scheduled.fn.outputs) {
    const target = scheduled.targets.get(node)
    const ref: PlacedRef = target === undefined ? { kind: 'node', node } : { kind: 'declared', name: target }
    results.set(`output ${name}`, fetch(ref, node.axes, node.dtype === 'f32'))
  }
  for (const { name, node } of scheduled.fn.writes) {
    results.set(`write ${name}`, fetch({ kind: 'declared', name }, node.axes, node.dtype === 'f32'))
  }
  return results
}

/** What the graph's interpreter makes of the function; what is written in fewer bits is rounded as memory does. */
export function expected(
  graph: Graph,
  fn: GraphFunction,
  values: ReadonlyMap<string, Tensor>,
  extents: Extents,
): Map<string, Tensor> {
  const { outputs, writes } = interpret(graph, fn, { values, extents, arithmetic: float32 })
  const rounded = new Map([...writes].map(([name, tensor]) => [name, { ...tensor, data: tensor.data.slice() }]))
  roundNarrow(graph, rounded)
  return new Map([
    ...[...outputs].map(([name, tensor]) => [`output ${name}`, tensor] as const),
    ...[...rounded].map(([name, tensor]) => [`write ${name}`, tensor] as const),
  ])
}

/** The first element whose bits differ, as a sentence; undefined where none does. NaN equals NaN. */
export function firstDifference(
  actual: ReadonlyMap<string, Tensor>,
  wanted: ReadonlyMap<string, Tensor>,
): string | undefined {
  for (const [name, { data }] of wanted) {
    const found = actual.get(name)?.data
    if (found?.length !== data.length) return `${name} has ${found?.length} elements, not ${data.length}`
    const index = data.findIndex((value, place) => !Object.is(value, found[place]))
    if (index >= 0) return `${name}[${index}] is ${found[index]}, not ${data[index]}`
  }
  return undefined
}

/** Every kernel of a function, verified before and after its directives. */
export function verifyScheduled(scheduled: ScheduledFunction): void {
  for (const { nest, kernel } of scheduled.regions) {
    const stores = kernel.arguments.some(({ access }) => access !== 'read')
    if (!stores) throw new Error(`kernel ${kernel.name} stores nothing`)
    verifyKernel(nest)
    verifyKernel(kernel, { lowered: true })
  }
}
