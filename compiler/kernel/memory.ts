// The memory of an interpreted kernel: every element remembers which grid iteration wrote it, so that reading what
// nobody wrote, and iterations that depend on each other, are found. Knows nothing of statements.

import { InternalError } from '../diagnostic.ts'
import type { DType } from '../graph/axis.ts'
import { narrowBf16, narrowF16, widenBf16, widenF16 } from './halves.ts'
import { bufferElements } from './ir.ts'
import type { Buffer } from './ir.ts'

/** f32; i32 and bool; the raw bits of f16 and bf16. */
export type KernelArray = Float32Array | Int32Array | Uint16Array

export interface Memory {
  readonly buffer: Buffer
  readonly data: KernelArray
  /** The grid iteration, counted from 1, that last wrote an element; 0: none. Absent where nothing is written. */
  readonly writers: Uint32Array | undefined
}

/** Reads an element's value; the raw number where the dtype has no other form. */
export function decoder(dtype: DType): (raw: number) => number {
  if (dtype === 'bf16') return widenBf16
  if (dtype === 'f16') return widenF16
  return dtype === 'bool' ? (raw) => (raw === 0 ? 0 : 1) : (raw) => raw
}

export function encoder(dtype: DType): (value: number) => number {
  if (dtype === 'bf16') return narrowBf16
  if (dtype === 'f16') return narrowF16
  return (value) => value
}

function arrayOf(dtype: DType, length: number): KernelArray {
  if (dtype === 'f32') return new Float32Array(length)
  return dtype === 'f16' || dtype === 'bf16' ? new Uint16Array(length) : new Int32Array(length)
}

/** Memory of a local buffer, with nothing in it. */
export function localMemory(buffer: Buffer): Memory {
  const length = bufferElements(buffer)
  return { buffer, data: arrayOf(buffer.dtype, length), writers: new Uint32Array(length) }
}

/** Binds an array to an argument. @throws InternalError when the array has another type or is too short */
export function argumentMemory(buffer: Buffer, data: KernelArray | undefined): Memory {
  if (data === undefined) throw new InternalError(`no array is given for argument '${buffer.name}'`)
  const fits = data.constructor === arrayOf(buffer.dtype, 0).constructor
  if (!fits)
    throw new InternalError(`argument '${buffer.name}' is ${buffer.dtype}, but its array is a ${data.constructor.name}`)
  const length = bufferElements(buffer)
  if (data.length < length) {
    throw new InternalError(`argument '${buffer.name}' needs ${length} elements, but its array has ${data.length}`)
  }
  return { buffer, data, writers: buffer.access === 'read' ? undefined : new Uint32Array(length) }
}

/** A copy for one invocation: what was there before is seen, what is written stays inside. */
export function forkMemory(memory: Memory): Memory {
  return { buffer: memory.buffer, data: memory.data.slice(), writers: memory.writers?.slice() }
}

/**
 * Why an element must not be read now, or undefined when it may: memory of a thread holds only what the same grid
 * iteration wrote, an argument nothing that another iteration wrote.
 */
export function readFault(memory: Memory, offset: number, iteration: number): string | undefined {
  const writer = memory.writers?.[offset]
  if (writer === undefined || writer === iteration) return undefined
  const { name, space, access } = memory.buffer
  if (space !== 'argument' || (writer === 0 && access === 'write'))
    return `element ${offset} of '${name}' is read before it is written`
  return writer === 0 ? undefined : `element ${offset} of '${name}' was written by another grid iteration`
}

/** Notes a write; the reason why it must not happen, or undefined. */
export function noteWrite(memory: Memory, offset: number, iteration: number): string | undefined {
  const { writers, buffer } = memory
  if (!writers) return `'${buffer.name}' is only read`
  const writer = writers[offset]
  if (buffer.space === 'argument' && writer !== 0 && writer !== iteration) {
    return `element ${offset} of '${buffer.name}' is written by two grid iterations`
  }
  writers[offset] = iteration
  return undefined
}

/** What an earlier phase wrote to an argument is there for every iteration of the next. */
export function forgetWriters({ buffer, writers }: Memory): void {
  if (buffer.space === 'argument' && buffer.access === 'update') writers?.fill(0)
}
