// Runs a scheduled function with the kernel interpreter, before or after its directives, and hands the results back as
// canonical tensors, so that they can be held against the graph's interpreter.

import type { Axis, DType } from '../../compiler/graph/axis.ts'
import { float32 } from '../../compiler/graph/float32.ts'
import type { Graph } from '../../compiler/graph/node.ts'
import type { Node } from '../../compiler/graph/node.ts'
import { extentOf, makeTensor } from '../../compiler/graph/tensor.ts'
import type { Extents, Tensor } from '../../compiler/graph/tensor.ts'
import { narrowBf16, narrowF16 } from '../../compiler/kernel/halves.ts'
import { runKernel } from '../../compiler/kernel/interpret.ts'
import type { KernelArray } from '../../compiler/kernel/interpret.ts'
import type { ValueRef } from '../../compiler/schedule/scope.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import type { ScheduleProfile } from '../../compiler/schedule/profile.ts'

export const testProfile = (lanes: number): ScheduleProfile => ({
  name: `test ${lanes}`,
  lanes,
  tile: { rows: 3, vectors: 2 },
  privateCache: 1 << 15,
  threads: 2,
})

function arrayFor(dtype: DType, length: number): KernelArray {
  if (dtype === 'bf16' || dtype === 'f16') return new Uint16Array(length)
  return dtype === 'f32' ? new Float32Array(length) : new Int32Array(length)
}

const narrowers: Partial<Record<DType, (value: number) => number>> = { bf16: narrowBf16, f16: narrowF16 }

/** Copies between a dense canonical tensor at run-time extents and memory in `layout` at the bounds. */
function move(tensor: Tensor, layout: readonly Axis[], memory: KernelArray, into: 'memory' | 'tensor', narrow = (value: number): number => value): void {
  const strides = new Map<Axis, number>()
  let stride = 1
  for (const axis of layout.toReversed()) {
    strides.set(axis, stride)
    stride *= axis.size
  }
  const count = tensor.data.length
  for (let flat = 0; flat < count; flat++) {
    let rest = flat
    let offset = 0
    for (let position = tensor.axes.length - 1; position >= 0; position--) {
      const extent = tensor.extents[position] as number
      offset += (rest % extent) * (strides.get(tensor.axes[position] as Axis) ?? 0)
      rest = Math.floor(rest / extent)
    }
    if (into === 'memory') memory[offset] = narrow(tensor.data[flat] as number)
    else (tensor.data as Float32Array)[flat] = memory[offset] as number
  }
}

export interface Executed {
  readonly outputs: Map<string, Tensor>
  readonly writes: Map<string, Tensor>
}

export function executeScheduled(
  graph: Graph,
  name: string,
  values: ReadonlyMap<string, Tensor>,
  extents: Extents,
  profile: ScheduleProfile,
  stage: 'nest' | 'kernel',
): Executed {
  const fn = graph.functions.find((candidate) => candidate.name === name)
  if (!fn) throw new Error(`no function ${name}`)
  const scheduled = scheduleFunction(graph, fn, profile)
  const memory = new Map<string, KernelArray>()
  const declared = (declaration: string): KernelArray => {
    const known = memory.get(`declared ${declaration}`)
    if (known) return known
    const info = graph.declarations.get(declaration)
    if (!info) throw new Error(`no declaration ${declaration}`)
    const layout = info.stored.flat()
    const made = arrayFor(info.dtype, layout.reduce((n, axis) => n * axis.size, 1))
    const tensor = values.get(declaration)
    if (tensor) move(tensor, layout, made, 'memory', narrowers[info.dtype])
    memory.set(`declared ${declaration}`, made)
    return made
  }
  const place = (ref: ValueRef): KernelArray => {
    if (ref.kind === 'declared') return declared(ref.name)
    const key = `${ref.kind} ${ref.node.id}`
    const known = memory.get(key)
    if (known) return known
    const layout = ref.kind === 'table' ? [ref.node.attrs.axis] : scheduled.layout(ref.node)
    const made = arrayFor(ref.node.dtype, layout.reduce((n, axis) => n * axis.size, 1))
    if (ref.kind === 'table') made.set(ref.node.attrs.values)
    else made.fill(ref.node.dtype === 'f32' ? Number.NaN : -1)
    memory.set(key, made)
    return made
  }
  for (const region of scheduled.regions) {
    const kernel = stage === 'nest' ? region.nest : region.kernel
    const buffers = new Map(kernel.arguments.map((buffer, index) => [buffer.name, place(region.references[index] as ValueRef)]))
    runKernel(kernel, { buffers, sizes: extents as Record<string, number>, arithmetic: float32 })
  }
  const fetch = (node: Node): Tensor => {
    const sizes = node.axes.map((axis) => extentOf(axis, extents))
    const length = sizes.reduce((n, extent) => n * extent, 1)
    const data = node.dtype === 'f32' ? new Float32Array(length) : new Int32Array(length)
    const tensor = makeTensor(node.axes, sizes, data)
    const target = scheduled.targets.get(node)
    move(tensor, scheduled.layout(node), place(target === undefined ? { kind: 'node', node } : { kind: 'declared', name: target }), 'tensor')
    return tensor
  }
  return {
    outputs: new Map(fn.outputs.map(({ name: output, node }) => [output, fetch(node)])),
    writes: new Map(fn.writes.map(({ name: write, node }) => [write, fetch(node)])),
  }
}
