// What the GPU schedule may know of a device: limits of one workgroup and of one kernel, and the shape of its tiles.
// Numbers only; how a shader is spelled is the backend's business.

import type { ScheduleProfile } from './profile.ts'

export interface GpuLimits {
  /** Bytes that the invocations of a workgroup may share. */
  readonly workgroupBytes: number
  /** Bytes of private arrays that one invocation may have before it is no longer fast anywhere. */
  readonly privateBytes: number
  /** Invocations of one workgroup. */
  readonly invocations: number
  /** Buffers in memory that one kernel may bind. */
  readonly storageBuffers: number
  /** Workgroups along one dimension of a dispatch. */
  readonly workgroupsPerDimension: number
}

export interface GpuProfile {
  readonly name: string
  readonly limits: GpuLimits
  readonly contraction: {
    /** Invocations along rows and columns of a workgroup's tile. */
    readonly invocations: number
    /** Elements along rows and columns that one invocation keeps in registers. */
    readonly registers: number
    /** Steps of the chain that are staged at a time: at most `invocations`. */
    readonly depth: number
  }
}

/** The profile under which regions are lowered to nests: their reductions' 16 partial results appear as one lane loop. */
export function nestProfile(profile: GpuProfile): ScheduleProfile {
  const tile = { rows: 1, vectors: 1 }
  return { name: profile.name, lanes: 16, tile, privateCache: 1 << 15, wholeBlocks: true, threads: 2 }
}
