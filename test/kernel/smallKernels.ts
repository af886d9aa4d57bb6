// Kernels as the scheduler makes them, on arguments that make sense to them, for properties of directives and of
// vectorisation. Only for tests.

import { float32 } from '../../compiler/graph/float32.ts'
import { bufferElements } from '../../compiler/kernel/ir.ts'
import type { Kernel } from '../../compiler/kernel/ir.ts'
import { runKernel } from '../../compiler/kernel/interpret.ts'
import type { KernelArray } from '../../compiler/kernel/interpret.ts'
import { printDirective } from '../../compiler/kernel/directives.ts'
import { printKernel } from '../../compiler/kernel/print.ts'
import type { LoweredRegion } from '../../compiler/schedule/lowering.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import { smallProfile } from '../schedule/launch.ts'
import { training } from '../schedule/trainings.ts'

const made = new Map<number, readonly LoweredRegion[]>()

/** One of each different kernel of training two models, adapters alone or all weights. */
export function smallKernels(lanes: number): readonly LoweredRegion[] {
  const known = made.get(lanes)
  if (known) return known
  // So little cache that weights are asked for ahead; so much that no chain is cut, for streams, whose masks then trim them.
  const small = { ...smallProfile(lanes), privateCache: 1 << 10 }
  const roomy = { ...smallProfile(lanes), privateCache: 1 << 20 }
  const found = new Map<string, LoweredRegion>()
  for (const model of ['gpt2', 'qwen2'] as const) {
    for (const adaptation of ['lora', 'full'] as const) {
      const { graph } = training({ model, adaptation, length: 11, dtype: model === 'gpt2' ? 'f16' : 'bf16' })
      for (const fn of graph.functions) {
        const streams = scheduleFunction(graph, fn, roomy).regions.filter(({ directives }) =>
          directives.some((one) => one.do === 'trim'),
        )
        for (const region of [...scheduleFunction(graph, fn, small).regions, ...streams]) {
          const text = printKernel(region.nest) + region.directives.map(printDirective).join()
          found.set(text, found.get(text) ?? region)
        }
      }
    }
  }
  const kernels = [...found.values()]
  made.set(lanes, kernels)
  return kernels
}

function argumentsOf(kernel: Kernel): Map<string, KernelArray> {
  return new Map(
    kernel.arguments.map((buffer, place): [string, KernelArray] => {
      const length = bufferElements(buffer)
      const number = (i: number): number => Math.fround(Math.sin(i * 0.37 + place) * 1.5)
      if (buffer.dtype === 'f32') return [buffer.name, Float32Array.from({ length }, (_, i) => number(i))]
      // 16-bit floats of both kinds between 0.5 and 2; integers and conditions that are indices everywhere.
      const half = (i: number): number => (buffer.dtype === 'bf16' ? 0x3f00 : 0x3800) + ((i * 29) % 0x100)
      if (buffer.dtype === 'i32' || buffer.dtype === 'bool')
        return [buffer.name, Int32Array.from({ length }, (_, i) => i % 2)]
      return [buffer.name, Uint16Array.from({ length }, (_, i) => half(i))]
    }),
  )
}

/** The bytes of everything that a kernel may write, after a run with sequences a little shorter than their bound. */
export function resultsOf(kernel: Kernel): Buffer {
  const buffers = argumentsOf(kernel)
  const sizes = Object.fromEntries(
    kernel.sizes.map(({ name, bound }) => [name, Math.max(1, bound - (name === 'seq' ? 2 : 0))]),
  )
  runKernel(kernel, { buffers, sizes, arithmetic: float32 })
  const written = kernel.arguments.filter(({ access }) => access !== 'read')
  return Buffer.concat(
    written.map(({ name }) => {
      const array = buffers.get(name) as KernelArray
      return Buffer.from(array.buffer, array.byteOffset, array.byteLength)
    }),
  )
}
