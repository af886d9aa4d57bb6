// Holds a scheduled kernel against the nest it was made from: both interpreted, on the same numbers, equal to the bit.

import assert from 'node:assert/strict'
import { float32 } from '../../compiler/graph/float32.ts'
import { runKernel } from '../../compiler/kernel/interpret.ts'
import type { KernelArray } from '../../compiler/kernel/interpret.ts'
import { bufferElements } from '../../compiler/kernel/ir.ts'
import type { Buffer, Kernel } from '../../compiler/kernel/ir.ts'

function filled(buffer: Buffer, seed: number): KernelArray {
  const length = bufferElements(buffer)
  switch (buffer.dtype) {
    case 'f32':
      return Float32Array.from({ length }, (_, i) =>
        buffer.access === 'write' ? Number.NaN : Math.sin(i * 0.37 + seed) * 0.7 + 0.75,
      )
    case 'i32':
      return Int32Array.from({ length }, (_, i) => (i * 5 + seed) % 7)
    case 'bool':
      return Int32Array.from({ length }, (_, i) => i % 2)
    case 'f16':
      return Uint16Array.from({ length }, (_, i) => 0x3800 + ((i * 37) % 0x400))
    case 'bf16':
      return Uint16Array.from({ length }, (_, i) => 0x3f00 + ((i * 37) % 0x80))
  }
}

/** Argument arrays of a kernel, the same for the same kernel. */
export function argumentArrays(kernel: Kernel): Map<string, KernelArray> {
  return new Map(kernel.arguments.map((buffer, place) => [buffer.name, filled(buffer, place)]))
}

/** Runs both at these sizes; every element of every argument must be the same, and something must be written. */
export function assertEqualRuns(plain: Kernel, scheduled: Kernel, sizes: Readonly<Record<string, number>>): void {
  const before = argumentArrays(plain)
  const expected = argumentArrays(plain)
  const actual = argumentArrays(plain)
  runKernel(plain, { buffers: expected, sizes, arithmetic: float32 })
  runKernel(scheduled, { buffers: actual, sizes, arithmetic: float32 })
  let written = 0
  for (const [name, array] of expected) {
    const other = actual.get(name) as KernelArray
    array.forEach((value, place) => {
      if (!Object.is(value, other[place]))
        assert.fail(`${plain.name} ${name}[${place}] is ${other[place]}, not ${value}`)
      if (!Object.is(value, before.get(name)?.[place])) written++
    })
  }
  assert.ok(written > 0, `${plain.name} writes nothing`)
}
