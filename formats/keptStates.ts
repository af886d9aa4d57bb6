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
  const refuse = (sentence: string): UserError => new UserError('HD412', sentence, { place: { file } })
  if (size < BLOCK)
    throw refuse(`this is no whole file of kept states: it has ${size} bytes, its header alone ${BLOCK}`)
  const head = Buffer.alloc(BLOCK)
  readFully(file, descriptor, head, 0)
  if (head.toString('latin1', 0, MAGIC.length) !== MAGIC) {
    throw refuse('this is no file of kept states, or the beginning of its header is damaged')
  }
  return head
}

function identityOf(head: Buffer): string {
  return hexOf(head.readBigUInt64LE(IDENTITY_OFFSET))
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
    const findSlot = (): Slot => slotIn(file, descriptor, size, { version, identity })
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

/** Bytes that are held at a time while a version is added up. */
const WINDOW = 4 * 1024 * 1024
/** Words of which places and sums are exact in a number. */
const BLOCK_WORDS = BLOCK / ELEMENT_BYTES

/**
 * Holds all bytes of a version against the sum that was made of them as they were written (`sum_of` in `heddle_stored.h`),
 * 16 hexadecimal digits. Errors: HD401, HD412 as `readKept`, and where a byte is another.
 */
export function checkKept(file: string, version: KeptVersion, sum: string): void {
  withFile(file, (descriptor, size) => {
    const slot = slotIn(file, descriptor, size, version)
    const window = new Uint8Array(Math.min(WINDOW, slot.end - slot.begin))
    let found = 0n
    for (let done = slot.begin; done < slot.end; done += window.byteLength) {
      const part = window.subarray(0, Math.min(window.byteLength, slot.end - done))
      readFully(file, descriptor, part, done)
      found += sumOf(part, done - slot.begin)
    }
    if (hexOf(BigInt.asUintN(64, found)) === sum) return
    throw new UserError(
      'HD412',
      `what the file holds of version ${version.version} is damaged: its checksum is not the one that was saved`,
      { place: { file } },
    )
  })
}

/** Of whole blocks: words of 32 bits, each times 2p + 1 for its place p in the slot. */
function sumOf(bytes: Uint8Array<ArrayBuffer>, from: number): bigint {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / ELEMENT_BYTES)
  let sum = 0n
  for (let begin = 0; begin < words.length; begin += BLOCK_WORDS) {
    let plain = 0
    let weighted = 0
    for (let place = 0; place < BLOCK_WORDS; place++) {
      const word = words[begin + place] as number
      plain += word
      weighted += place * word
    }
    if (plain === 0) continue
    sum += BigInt(2 * (from / ELEMENT_BYTES + begin) + 1) * BigInt(plain) + 2n * BigInt(weighted)
  }
  return sum
}

function hexOf(number: bigint): string {
  return number.toString(16).padStart(16, '0')
}

/** Where a version lies, in bytes from the start of the file. */
interface Slot {
  readonly begin: number
  readonly end: number
}

/** The slot of a version in an open file. Errors: HD412. */
function slotIn(file: string, descriptor: number, size: number, version: KeptVersion): Slot {
  const slot = slotOf(headOf(file, descriptor, size), size, version)
  if (typeof slot === 'string') throw new UserError('HD412', slot, { place: { file } })
  return slot
}

/** What the first bytes of a file say. */
interface Header {
  readonly slotBytes: bigint
  /** Of the file. */
  readonly total: bigint
  readonly identity: bigint
}

/** The slot whose record is whole and of this version; why there is none, else. */
function slotOf(head: Buffer, size: number, { version, identity }: KeptVersion): Slot | string {
  const header: Header = {
    slotBytes: head.readBigUInt64LE(16),
    total: head.readBigUInt64LE(24),
    identity: head.readBigUInt64LE(IDENTITY_OFFSET),
  }
  const { slotBytes, total } = header
  const versions = wholeVersions(head, header)
  const isOther = identityOf(head) !== identity
  // A record is of its header: where one is whole, the header is what was written.
  if (versions.size === 0) {
    const wanted = { ...header, identity: BigInt(`0x${identity}`) }
    const isOurs = !isOther || wholeVersions(head, wanted).size > 0
    return isOurs
      ? `the header of the file, which has ${size} bytes, is damaged: no record of a version agrees with it`
      : 'this file of kept states is of another run'
  }
  if (isOther) return 'this file of kept states is of another run'
  if (total !== BigInt(size)) {
    return total > BigInt(size)
      ? `the file is cut off: it has ${size} bytes, and ${total} by its header`
      : `something was added to the file: it has ${size} bytes, and ${total} by its header`
  }
  if (BigInt(BLOCK) + 2n * slotBytes > total || slotBytes % BigInt(BLOCK) !== 0n) return `the header of the file is damaged: it has slots of ${slotBytes} bytes in a file of ${size}` // prettier-ignore
  const slot = versions.get(BigInt(Number.isSafeInteger(version) ? version : 0))
  if (slot === undefined) {
    const there = [...versions.keys()].sort((a, b) => Number(a - b)).join(' and ')
    const since = [...versions.keys()].every((other) => other > version) ? 'it has been overwritten since: ' : ''
    return `${since}version ${version} is not in the file, which holds ${versions.size === 1 ? 'version' : 'versions'} ${there}`
  }
  const begin = BLOCK + slot * Number(slotBytes)
  return { begin, end: begin + Number(slotBytes) }
}

/** Slots by the version of their record, of those records that are whole. */
function wholeVersions(head: Buffer, { slotBytes, total, identity }: Header): Map<bigint, 0 | 1> {
  const versions = new Map<bigint, 0 | 1>()
  for (const slot of [0, 1] as const) {
    const record = RECORD * (1 + slot)
    const version = head.readBigUInt64LE(record)
    const check = checkOf([version, BigInt(slot), slotBytes, total, identity])
    if (version > 0n && head.readBigUInt64LE(record + 8) === check) versions.set(version, slot)
  }
  return versions
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
