// Kernels that find only some of a tensor in memory, as the interpreter of scheduled functions in tests runs them: rows that ids
// name beside each other, and parts of a launch with nothing but their own ranges. Everything else is rubbish, before and after.

import { dtypeBytes } from '../../compiler/graph/axis.ts'
import type { DType } from '../../compiler/graph/axis.ts'
import { runKernel } from '../../compiler/kernel/interpret.ts'
import type { KernelArray, KernelRun } from '../../compiler/kernel/interpret.ts'
import { constantIndex } from '../../compiler/kernel/index.ts'
import type { Kernel, Loop } from '../../compiler/kernel/ir.ts'
import { mapStmt, substitution } from '../../compiler/kernel/rewrite.ts'
import { outermostLoop } from '../../compiler/plan/footprint.ts'
import type { CutPart, PartUse } from '../../compiler/plan/parts.ts'

export function emptyArray(dtype: DType, length: number): KernelArray {
  if (dtype === 'bf16' || dtype === 'f16') return new Uint16Array(length).fill(0x7fff)
  return dtype === 'f32' ? new Float32Array(length).fill(Number.NaN) : new Int32Array(length).fill(-77)
}

/** For each id the place of the first one equal to it. */
export function firstsOf(ids: KernelArray): Int32Array {
  return Int32Array.from(ids, (id) => ids.indexOf(id))
}

/** Rows of a whole tensor beside each other, those of first occurrences alone, and the way back. */
export class NamedRows {
  readonly memory: KernelArray
  readonly #whole: KernelArray
  readonly #rows: readonly { readonly place: number; readonly row: number }[]
  readonly #length: number

  /** `dtype` of the tensor; `length` of a row. Ids below zero are of no token. */
  constructor(whole: KernelArray, dtype: DType, ids: KernelArray, length: number) {
    this.#whole = whole
    this.#length = length
    const firsts = firstsOf(ids)
    this.#rows = [...ids].flatMap((row, place) => (row >= 0 && firsts[place] === place ? [{ place, row }] : []))
    this.memory = emptyArray(dtype, ids.length * length)
    for (const { place, row } of this.#rows) {
      this.memory.set(whole.subarray(row * length, (row + 1) * length), place * length)
    }
  }

  copyBack(): void {
    for (const { place, row } of this.#rows) {
      this.#whole.set(this.memory.subarray(place * this.#length, (place + 1) * this.#length), row * this.#length)
    }
  }
}

/** Each iteration of the outermost loop by itself, in order; tensors in storage hold rubbish outside a part's ranges. */
export function runInParts(kernel: Kernel, parts: readonly CutPart[], run: KernelRun): void {
  const outermost = outermostLoop(kernel)
  for (const part of parts) {
    const buffers = new Map(run.buffers)
    const windows = windowsOf(kernel, parts, part, run)
    for (const { names, there } of windows) for (const name of names) buffers.set(name, there)
    for (let place = part.begin; place < part.end; place++) {
      const only = outermost ? atIteration(kernel, outermost.loop, place) : kernel
      runKernel(only, { ...run, buffers })
    }
    for (const window of windows) putBack(kernel, window)
  }
}

interface WindowedTensor {
  readonly names: readonly string[]
  readonly whole: KernelArray
  readonly there: KernelArray
  readonly dtype: DType
  readonly uses: readonly PartUse[]
}

/** Arguments of one tensor share what is in memory of it. */
function windowsOf(
  kernel: Kernel,
  parts: readonly CutPart[],
  { uses }: CutPart,
  { buffers }: KernelRun,
): WindowedTensor[] {
  const streamed = new Set(parts.flatMap((part) => part.uses.map(({ argument }) => argument)))
  const tensors = new Map<KernelArray, WindowedTensor>()
  for (const argument of streamed) {
    const { name = '', dtype = 'f32' } = kernel.arguments[argument] ?? {}
    const whole = buffers.get(name) as KernelArray
    const known = tensors.get(whole) ?? { names: [], whole, there: emptyArray(dtype, whole.length), dtype, uses: [] }
    const own = uses.filter((use) => use.argument === argument)
    tensors.set(whole, { ...known, names: [...known.names, name], uses: [...known.uses, ...own] })
  }
  for (const { whole, there, dtype, uses } of tensors.values()) {
    // What is written anew holds rubbish as well.
    for (const { from, bytes, isFresh } of uses) {
      const [first, end] = elements(from, bytes, dtype)
      if (!isFresh) there.set(whole.subarray(first, end), first)
    }
  }
  return [...tensors.values()]
}

function putBack(kernel: Kernel, { names, whole, there, dtype, uses }: WindowedTensor): void {
  const inside = new Uint8Array(there.length)
  for (const { from, bytes, isWritten } of uses) {
    const [first, end] = elements(from, bytes, dtype)
    inside.fill(1, first, end)
    if (isWritten) whole.set(there.subarray(first, end), first)
  }
  const [rubbish] = emptyArray(dtype, 1)
  const place = there.findIndex((value, at) => inside[at] === 0 && !Object.is(value, rubbish))
  if (place >= 0) throw new Error(`${kernel.name} writes element ${place} of ${names.join()} outside its range`)
}

function elements(from: number, bytes: number, dtype: DType): readonly [number, number] {
  return [from / dtypeBytes[dtype], (from + bytes) / dtypeBytes[dtype]]
}

function atIteration(kernel: Kernel, { variable, body }: Loop, place: number): Kernel {
  const fixed = substitution(new Map([[variable, constantIndex(place)]]))
  return { ...kernel, body: body.map((stmt) => mapStmt(stmt, fixed)) }
}
