// The GPU schedule: other directives over the same nests that the CPU's schedule starts from. Tiles of a contraction go
// to workgroups with both operands staged; a row, a block of columns or a block of attention rows is one workgroup's.
// It must not know a shading language or a graph operation.

import { InternalError } from '../diagnostic.ts'
import { dtypeBytes } from '../graph/axis.ts'
import type { Graph, GraphFunction } from '../graph/node.ts'
import { applyGpuDirectives } from '../kernel/gpuDirectives.ts'
import type { GpuDirective } from '../kernel/gpuDirectives.ts'
import { settleRegisters } from '../kernel/gpuPlaces.ts'
import { bufferElements } from '../kernel/ir.ts'
import type { Kernel } from '../kernel/ir.ts'
import { lowerKernel } from '../kernel/vectorise.ts'
import { contractionDirectives, pointDirectives } from './gpuContraction.ts'
import { columnDirectives, elementDirectives, rowDirectives, slotsOf, streamDirectives } from './gpuRows.ts'
import type { Slots } from './gpuRows.ts'
import type { GpuProfile } from './gpuProfile.ts'
import { nestProfile } from './gpuProfile.ts'
import type { LoweredRegion } from './lowering.ts'
import type { RegionKind } from './regions.ts'
import { scheduleFunction } from './schedule.ts'

export interface GpuRegion extends Omit<LoweredRegion, 'directives'> {
  readonly directives: readonly GpuDirective[]
}

/** A function's regions as kernels for a GPU, in launch order. */
export function scheduleForGpu(graph: Graph, fn: GraphFunction, profile: GpuProfile): GpuRegion[] {
  return scheduleFunction(graph, fn, nestProfile(profile)).regions.map((region) => gpuRegion(region, profile))
}

/** Bytes that a kernel's invocations share. */
export function workgroupBytes(kernel: Kernel): number {
  const shared = kernel.locals.filter((buffer) => buffer.space === 'workgroup')
  return shared.reduce((sum, buffer) => sum + bufferElements(buffer) * dtypeBytes[buffer.dtype], 0)
}

/**
 * The kernel of a region that was lowered under `nestProfile`: the first of the directive lists that fits the limits.
 * @throws InternalError when none does
 */
export function gpuRegion(lowered: LoweredRegion, profile: GpuProfile): GpuRegion {
  for (const directives of candidates[lowered.region.kind](lowered, slotsOf(lowered), profile)) {
    const scheduled = applyGpuDirectives(lowered.nest, directives)
    if (workgroupBytes(scheduled) <= profile.limits.workgroupBytes)
      return { ...lowered, directives, kernel: settleRegisters(lowerKernel(scheduled)) }
  }
  throw new InternalError(
    `kernel ${lowered.nest.name}: no schedule fits ${profile.limits.workgroupBytes} bytes of workgroup memory`,
  )
}

/** Rows of a block that a workgroup may take, most first. */
const rowCounts = [16, 8, 4, 2, 1]

type Candidates = (lowered: LoweredRegion, slots: Slots, profile: GpuProfile) => Iterable<readonly GpuDirective[]>

const rows: Candidates = ({ nest }, slots) => [
  elementDirectives(nest, slots) ?? rowDirectives(nest, slots) ?? pointDirectives(nest),
]
const columns: Candidates = ({ nest, directives }, slots) => [
  columnDirectives(nest, directives, slots) ?? pointDirectives(nest),
]
const streams: Candidates = function* ({ nest }, slots, { limits }) {
  for (const count of rowCounts)
    if (count * slots.extent <= limits.invocations) yield streamDirectives(nest, slots, count)
}

/** Directive lists of a region, best first. */
const candidates: Record<RegionKind, Candidates> = {
  contraction: ({ nest }, _, profile) => [contractionDirectives(nest, profile) ?? pointDirectives(nest)],
  rows,
  softmaxRows: rows,
  columns,
  scatter: columns,
  softmax: streams,
  stream: streams,
}
