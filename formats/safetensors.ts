// safetensors files: open (header checked, data untouched), read one tensor, write a file as a whole.
// Knows nothing of models; shapes and names mean what the caller says.

import buffer from 'node:buffer'
import { UserError } from '../compiler/diagnostic.ts'
import { quote, readFully, withFile, writeFiles } from './files.ts'
import type { NewFile, WriteOptions } from './files.ts'
import { widenBfloat16, widenFloat16 } from './halves.ts'
import { checkedData, encodeHeader, headerLength, LENGTH_BYTES, parseHeader } from './safetensors-header.ts'
import type { NewTensor, SafetensorsHeader, TensorEntry } from './safetensors-header.ts'

export type { Dtype, NewTensor, TensorEntry, TensorLayout } from './safetensors-header.ts'

export interface SafetensorsFile extends SafetensorsHeader {
  readonly path: string
  /** Byte of the file at which tensor data begins. */
  readonly dataStart: number
}

/**
 * Reads and checks the header of a safetensors file; `tensors` is in the order of the data.
 * Errors: HD401 (unreadable), HD402 (the header is no JSON), HD403 (header and file disagree), HD404 (a wrong entry).
 */
export function openSafetensors(path: string): SafetensorsFile {
  return withFile(path, (descriptor, size) => {
    const prefix = new Uint8Array(LENGTH_BYTES)
    if (size >= LENGTH_BYTES) readFully(path, descriptor, prefix, 0)
    const header = new Uint8Array(headerLength(prefix, size, { file: path }))
    readFully(path, descriptor, header, LENGTH_BYTES)
    return { path, dataStart: LENGTH_BYTES + header.byteLength, ...parseHeader(header, size, path) }
  })
}

/** Halves are widened through a window of this many bytes, so that no second copy of a large tensor exists. */
const WINDOW = 4 * 1024 * 1024

function tensorPlace(entry: TensorEntry): { file: string; at: string } {
  return { file: entry.file, at: `tensor ${quote(entry.name)}` }
}

/** An entry is proof of the size only as long as the file stays the same; look again before allocating. */
function withTensor<Result>(entry: TensorEntry, use: (descriptor: number) => Result): Result {
  return withFile(entry.file, (descriptor, size) => {
    if (entry.begin + entry.bytes > size) {
      throw new UserError('HD403', 'the file became shorter after it was opened', { place: tensorPlace(entry) })
    }
    return use(descriptor)
  })
}

function refuseTooLarge(entry: TensorEntry, bytes: number): void {
  if (bytes > buffer.constants.MAX_LENGTH) {
    throw new UserError('HD404', `it takes ${bytes} bytes, more than this Node can hold in one buffer`, {
      place: tensorPlace(entry),
    })
  }
}

/** The tensor's bytes as stored. The buffer is its own memory and 8-byte aligned. Errors: HD401, HD403, HD404. */
export function readTensor(entry: TensorEntry): Buffer {
  refuseTooLarge(entry, entry.bytes)
  return withTensor(entry, (descriptor) => {
    const bytes = Buffer.from(new ArrayBuffer(entry.bytes))
    readFully(entry.file, descriptor, bytes, entry.begin)
    return bytes
  })
}

/**
 * The tensor as float32: F32 as stored, F16 and BF16 widened exactly (NaN payloads included).
 * Errors: HD401, HD403, and HD404 for any other type, which float32 would not hold exactly.
 */
export function readTensorF32(entry: TensorEntry): Float32Array<ArrayBuffer> {
  const { dtype, bytes, begin, file } = entry
  if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16') {
    throw new UserError('HD404', `its dtype is ${dtype}, but F32, F16 or BF16 is needed here`, {
      place: tensorPlace(entry),
    })
  }
  const count = dtype === 'F32' ? bytes / 4 : bytes / 2
  refuseTooLarge(entry, count * 4)
  return withTensor(entry, (descriptor) => {
    const values = new Float32Array(count)
    if (dtype === 'F32') {
      readFully(file, descriptor, new Uint8Array(values.buffer), begin)
      return values
    }
    const widen = dtype === 'F16' ? widenFloat16 : widenBfloat16
    const window = new Uint8Array(Math.min(WINDOW, bytes))
    for (let done = 0; done < bytes; done += window.byteLength) {
      const part = window.subarray(0, Math.min(window.byteLength, bytes - done))
      readFully(file, descriptor, part, begin + done)
      const halves = new Uint16Array(part.buffer, 0, part.byteLength / 2)
      widen(halves, values.subarray(done / 2, done / 2 + halves.length))
    }
    return values
  })
}

/** A float32 array as the bytes of a tensor; a view, nothing is copied. */
export function float32Tensor(name: string, shape: readonly number[], values: Float32Array): NewTensor {
  return { name, dtype: 'F32', shape, data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) }
}

/** The file that holds these tensors, to be written together with others by `writeFiles`. */
export function safetensorsFile(
  path: string,
  tensors: Iterable<NewTensor>,
  metadata: Readonly<Record<string, string>> = {},
): NewFile {
  const { header, ordered } = encodeHeader(tensors, metadata)
  return { path, chunks: [header, ...ordered.map((tensor) => checkedData(tensor, tensor.data))] }
}

/**
 * Writes a safetensors file as a whole (see `writeFiles`): equal tensors and metadata give equal bytes, whatever their
 * order. Errors: HD405, the old file being unchanged.
 */
export function writeSafetensors(
  path: string,
  tensors: Iterable<NewTensor>,
  metadata: Readonly<Record<string, string>> = {},
  options: WriteOptions = {},
): void {
  writeFiles([safetensorsFile(path, tensors, metadata)], options)
}

const EXPONENT_MASKS: Readonly<Record<string, number>> = { F16: 0x7c00, BF16: 0x7f80, F32: 0x7f800000 }

/**
 * Refuses a float tensor that holds a NaN or an infinity, so that a run gone wrong never reaches a saved file.
 * Errors: HD408 with the tensor and the element.
 */
export function refuseNonFinite(tensor: NewTensor, file: string): void {
  const mask = EXPONENT_MASKS[tensor.dtype]
  if (mask === undefined) return
  const width = tensor.dtype === 'F32' ? 4 : 2
  const aligned = tensor.data.byteOffset % width === 0 ? tensor.data : tensor.data.slice()
  const bits =
    width === 4
      ? new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4)
      : new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 2)
  for (let index = 0; index < bits.length; index++) {
    if ((bits[index]! & mask) === mask) {
      throw new UserError('HD408', `element ${index} is not a finite number, so nothing was saved`, {
        place: { file, at: `tensor ${quote(tensor.name)}` },
      })
    }
  }
}
