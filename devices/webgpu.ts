// What any WebGPU device gives without asking: the specification's default limits, and tiles that fit them.
// It must not know kernels or shaders.

import type { GpuProfile } from '../compiler/schedule/gpuProfile.ts'

export const webgpu: GpuProfile = {
  name: 'webgpu',
  limits: {
    workgroupBytes: 16384,
    privateBytes: 8192,
    invocations: 256,
    storageBuffers: 8,
    workgroupsPerDimension: 65535,
  },
  contraction: { invocations: 16, registers: 4, depth: 16 },
}
