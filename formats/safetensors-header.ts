// The safetensors header as a pure function of its bytes and the file's size: everything that a hostile file could lie
// about is refused here, so that readers may allocate what an entry says. Knows no file system.
// Format: https://github.com/huggingface/safetensors#format

import { InternalError, UserError } from '../compiler/diagnostic.ts'
import type { Place } from '../compiler/diagnostic.ts'
import { quote, quoteValue } from './files.ts'
import { isObject, parseJsonObject } from './json.ts'

/** Bits per element. The order is the one in which the reference writer lays data out, from last to first. */
const DTYPE_BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const

export type Dtype = keyof typeof DTYPE_BITS

const DTYPE_ORDER = Object.keys(DTYPE_BITS) as Dtype[]

/** The format's own bound on the header, in bytes. */
export const MAX_HEADER_BYTES = 100_000_000
/** Bytes before the header: its length as a 64-bit little-endian integer. */
export const LENGTH_BYTES = 8
const MAX_RANK = 32
const METADATA_KEY = '__metadata__'

/** Where one tensor's bytes lie. `begin` counts from the start of the file. */
export interface TensorEntry {
  readonly name: string
  readonly file: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly begin: number
  readonly bytes: number
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, TensorEntry>
  readonly metadata: Readonly<Record<string, string>>
}

/**
 * Number of elements of a shape, or undefined when the product leaves the safe integers on the way (so a later zero does
 * not hide it, as in the reference reader).
 */
export function elementCount(shape: readonly number[]): number | undefined {
  let count = 1
  for (const extent of shape) {
    count *= extent
    if (!Number.isSafeInteger(count)) return undefined
  }
  return count
}

/** Bytes of a tensor, or undefined when they are no whole number or too many to count. */
export function tensorBytes(dtype: Dtype, shape: readonly number[]): number | undefined {
  const count = elementCount(shape)
  if (count === undefined) return undefined
  const bits = count * DTYPE_BITS[dtype]
  return Number.isSafeInteger(bits) && bits % 8 === 0 ? bits / 8 : undefined
}

/** The header's length from the file's first eight bytes. Errors: HD403 when it cannot be true of a file of that size. */
export function headerLength(prefix: Uint8Array, fileSize: number, place: Place): number {
  if (fileSize < LENGTH_BYTES || prefix.byteLength < LENGTH_BYTES) {
    throw new UserError('HD403', `a safetensors file has at least 8 bytes, this one has ${fileSize}`, { place })
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset, LENGTH_BYTES).getBigUint64(0, true)
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw new UserError('HD403', `the header claims ${length} bytes, more than the ${MAX_HEADER_BYTES} allowed`, {
      place,
      mend: 'this is probably no safetensors file',
    })
  }
  if (length > BigInt(fileSize - LENGTH_BYTES)) {
    throw new UserError('HD403', `the header claims ${length} bytes, but the file has ${fileSize} in all`, {
      place,
      mend: 'the file is truncated or no safetensors file',
    })
  }
  return Number(length)
}

/**
 * Checks a header against the size of its file: known data types, shapes whose product is the number of bytes, data that
 * fills the file from the header's end to the last byte without overlap or gap, names given once.
 * Errors: HD402 (malformed JSON), HD403 (the file and its header disagree), HD404 (an entry is wrong; names the tensor).
 */
export function parseHeader(header: Uint8Array, fileSize: number, file: string): SafetensorsHeader {
  if (header[0] !== 0x7b)
    throw new UserError('HD403', 'the header does not begin with {', { place: { file, at: 'byte 8' } })
  const dataStart = LENGTH_BYTES + header.byteLength
  const dataBytes = fileSize - dataStart
  const metadata: Record<string, string> = Object.create(null)
  const entries: TensorEntry[] = []
  for (const [name, value] of Object.entries(parseJsonObject(header, { file, at: 'header' }))) {
    if (name === METADATA_KEY) readMetadata(value, metadata, file)
    else entries.push(readEntry(name, value, file, dataStart, dataBytes))
  }
  entries.sort((left, right) => left.begin - right.begin || left.bytes - right.bytes)
  let end = dataStart
  let previous = ''
  for (const entry of entries) {
    if (entry.begin < end) {
      throw wrongEntry(entry.name, file, `its data begins inside that of tensor ${quote(previous)}`)
    }
    if (entry.begin > end)
      throw wrongEntry(entry.name, file, `${entry.begin - end} bytes before its data belong to no tensor`)
    end += entry.bytes
    previous = entry.name
  }
  if (end !== fileSize) {
    throw new UserError('HD403', `the tensors end at byte ${end}, but the file has ${fileSize} bytes`, {
      place: { file },
    })
  }
  return { tensors: new Map(entries.map((entry) => [entry.name, entry])), metadata }
}

function wrongEntry(name: string, file: string, reason: string): UserError {
  return new UserError('HD404', reason, { place: { file, at: `tensor ${quote(name)}` } })
}

function readMetadata(value: unknown, target: Record<string, string>, file: string): void {
  const place = { file, at: METADATA_KEY }
  if (!isObject(value)) throw new UserError('HD403', 'the metadata is not an object of strings', { place })
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw new UserError('HD403', `the metadata ${quote(key)} is not a string`, { place })
    target[key] = text
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function readEntry(name: string, value: unknown, file: string, dataStart: number, dataBytes: number): TensorEntry {
  if (!isObject(value)) throw wrongEntry(name, file, 'its entry is not an object')
  const { dtype, shape, data_offsets: offsets } = value
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPE_BITS, dtype)) {
    throw wrongEntry(name, file, `its dtype ${quoteValue(dtype)} is not known`)
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) throw wrongEntry(name, file, 'its shape is not a list of sizes')
  if (shape.length > MAX_RANK) throw wrongEntry(name, file, `it has ${shape.length} dimensions, more than ${MAX_RANK}`)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw wrongEntry(name, file, 'its data_offsets are not two byte positions')
  }
  const [begin, end] = offsets as [number, number]
  if (begin > end) throw wrongEntry(name, file, `its data ends (${end}) before it begins (${begin})`)
  if (end > dataBytes) {
    throw wrongEntry(name, file, `its data ends at byte ${end} of the data, but the file holds ${dataBytes}`)
  }
  const bytes = tensorBytes(dtype as Dtype, shape)
  if (bytes === undefined)
    throw wrongEntry(name, file, `its shape [${shape.join(', ')}] has no countable size in ${dtype}`)
  if (bytes !== end - begin) {
    throw wrongEntry(name, file, `its shape [${shape.join(', ')}] in ${dtype} takes ${bytes} bytes, not ${end - begin}`)
  }
  return { name, file, dtype: dtype as Dtype, shape, begin: dataStart + begin, bytes }
}

/** A tensor to be written, without its bytes. */
export interface TensorLayout {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
}

/** A tensor to be written; `data` is little-endian and contiguous. */
export interface NewTensor extends TensorLayout {
  readonly data: Uint8Array
}

/**
 * The length and header for tensors, and the tensors in the order of their data: widest type first, then by name, as the
 * reference writer does, so that equal content gives equal bytes and every tensor is aligned to its element.
 */
export function encodeHeader<Layout extends TensorLayout>(
  tensors: Iterable<Layout>,
  metadata: Readonly<Record<string, string>>,
): { header: Uint8Array; ordered: Layout[] } {
  const ordered = [...tensors].sort(
    (left, right) =>
      DTYPE_ORDER.indexOf(right.dtype) - DTYPE_ORDER.indexOf(left.dtype) ||
      Buffer.compare(Buffer.from(left.name), Buffer.from(right.name)),
  )
  const parts: string[] = []
  const keys = Object.keys(metadata).sort()
  if (keys.length > 0) {
    const pairs = keys.map((key) => `${JSON.stringify(key)}:${JSON.stringify(metadata[key])}`)
    parts.push(`"${METADATA_KEY}":{${pairs.join(',')}}`)
  }
  const names = new Set<string>([METADATA_KEY])
  let offset = 0
  for (const { name, dtype, shape } of ordered) {
    if (names.has(name)) throw new InternalError(`safetensors: tensor ${quote(name)} is given twice or reserved`)
    names.add(name)
    const end = offset + bytesOf({ name, dtype, shape })
    parts.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(',')}],"data_offsets":[${offset},${end}]}`,
    )
    offset = end
  }
  const text = Buffer.from(`{${parts.join(',')}}`)
  const length = Math.ceil(text.byteLength / 8) * 8
  if (length > MAX_HEADER_BYTES) throw new InternalError(`safetensors: the header would have ${length} bytes`)
  const header = Buffer.alloc(LENGTH_BYTES + length, ' ')
  header.writeBigUInt64LE(BigInt(length), 0)
  text.copy(header, LENGTH_BYTES)
  return { header, ordered }
}

/** Holds a tensor's bytes against its layout. */
export function checkedData(layout: TensorLayout, data: Uint8Array): Uint8Array {
  if (bytesOf(layout) === data.byteLength) return data
  const { name, dtype, shape } = layout
  throw new InternalError(
    `safetensors: ${quote(name)} ${dtype} [${shape.join(', ')}] came with ${data.byteLength} bytes`,
  )
}

function bytesOf({ name, dtype, shape }: TensorLayout): number {
  const bytes = tensorBytes(dtype, shape)
  if (bytes !== undefined) return bytes
  throw new InternalError(`safetensors: ${quote(name)} ${dtype} [${shape.join(', ')}] has no size`)
}
