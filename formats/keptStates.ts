// Reads what a training program keeps beside a run: a state file that holds versions of what is trained and of the
// optimizer's state, one of which always stands. The file's layout is that of the native run-time (`heddle_stored.h`);
// nothing in it is trusted. Knows no program and no session.

import buffer from 'node:buffer'
import { UserError } from '../compiler/diagnostic.ts'
import { quote, readFully, withFile } from './files.ts'

/** A value of a kept state; the shape in elements, the offset in bytes from the start of the file. */
export interface KeptEntry {
  readonly name: string
  readonly dtype: string
  readonly shape: readonly number[]
  readonly offset: number
}

const MAGIC = 'heddle states 2\n'
const BLOCK = 4096
/** Where slot 0's record is; slot 1's follows as far behind. */
const RECORD = 1024
const ELEMENT_BYTES = 4
const IDENTITY_OFFSET = 32

/** A version of one file: `identity` is the file's own number, so that another run's file is not taken for it. */
export interface KeptVersion {
  readonly version: number
  /** 16 hexadecimal digits. */
  readonly identity: string
}

/** The number that a file of kept states has and no other. Errors: HD401, HD412 (it is no state file). */
export function keptIdentity(file: string): string {
  return withFile(file, (descriptor, size) => identityOf(headOf(file, descriptor, size)))
}

function headOf(file: string, descriptor: number, size: number): Buffer {
  const head = Buffer.alloc(BLOCK)
  if (size >= BLOCK) readFully(file, descriptor, head, 0)
  if (size < BLOCK || head.toString('latin1', 0, MAGIC.length) !== MAGIC) {
    throw new UserError('HD412', 'this is no file of kept states', { place: { file } })
  }
  return head
}

function identityOf(head: Buffer): string {
  return head.readBigUInt64LE(IDENTITY_OFFSET).toString(16).padStart(16, '0')
}

/**
 * The elements of a value as a version of the file holds it: floats, or integers for i32 and bool. Errors: HD401 (the file
 * cannot be read), HD412 (it is no state file, or another run's, does not hold this version, or the
 * entry is not inside of it).
 */
export function readKept(
  file: string,
  { version, identity }: KeptVersion,
  entry: KeptEntry,
): Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> {
  return withFile(file, (descriptor, size) => {
    const refuse = (sentence: string): UserError => {
      return new UserError('HD412', sentence, { place: { file, at: `value ${quote(entry.name)}` } })
    }
    const findSlot = (): Slot => {
      const head = headOf(file, descriptor, size)
      if (identityOf(head) !== identity) throw refuse('this file of kept states is of another run')
      const slot = slotOf(head, size, version)
      if (!slot) throw refuse(`version ${version} is no longer in the file, or never was whole`)
      return slot
    }
    const slot = findSlot()
    const bytes = bytesOf(entry)
    if (bytes === undefined) throw refuse('its description is damaged')
    if (entry.offset < slot.begin || entry.offset > slot.end - bytes) {
      throw refuse(`it lies outside of what the file holds of version ${version}`)
    }
    const data = new ArrayBuffer(bytes)
    readFully(file, descriptor, new Uint8Array(data), entry.offset)
    // Whoever trains on overwrites a version that is not the last.
    findSlot()
    return entry.dtype === 'f32' ? new Float32Array(data) : new Int32Array(data)
  })
}

/** Where a version lies, in bytes from the start of the file. */
interface Slot {
  readonly begin: number
  readonly end: number
}

/** The slot whose record is whole and of this version. */
function slotOf(head: Buffer, size: number, version: number): Slot | undefined {
  const slotBytes = head.readBigUInt64LE(16)
  const total = head.readBigUInt64LE(24)
  const identity = head.readBigUInt64LE(IDENTITY_OFFSET)
  if (!Number.isSafeInteger(version) || version < 1 || total !== BigInt(size)) return undefined
  if (BigInt(BLOCK) + 2n * slotBytes > total) return undefined
  for (const slot of [0, 1]) {
    const record = RECORD * (1 + slot)
    if (head.readBigUInt64LE(record) !== BigInt(version)) continue
    if (head.readBigUInt64LE(record + 8) !== checkOf([BigInt(version), BigInt(slot), slotBytes, total, identity]))
      continue
    const begin = BLOCK + slot * Number(slotBytes)
    return { begin, end: begin + Number(slotBytes) }
  }
  return undefined
}

/** FNV-1a of 64 bits over numbers of 8 bytes, the lowest first. */
function checkOf(numbers: readonly bigint[]): bigint {
  let hash = 0xcbf29ce484222325n
  for (const number of numbers) {
    for (let byte = 0n; byte < 8n; byte++) {
      hash = BigInt.asUintN(64, (hash ^ ((number >> (8n * byte)) & 0xffn)) * 0x100000001b3n)
    }
  }
  return hash
}

/** Bytes of a value, or undefined for what nobody can have written. */
function bytesOf({ dtype, shape, offset }: KeptEntry): number | undefined {
  if (!['f32', 'i32', 'bool'].includes(dtype) || !Number.isSafeInteger(offset) || offset % ELEMENT_BYTES !== 0) {
    return undefined
  }
  let bytes = ELEMENT_BYTES
  for (const extent of shape) {
    if (!Number.isSafeInteger(extent) || extent < 1) return undefined
    bytes *= extent
    if (bytes > buffer.constants.MAX_LENGTH) return undefined
  }
  return bytes
}
