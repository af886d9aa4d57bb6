import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { checkKept, keptIdentity, readKept } from '../../formats/keptStates.ts'
import type { KeptEntry } from '../../formats/keptStates.ts'
import { refuses, temporaryDirectory } from './helpers.ts'

const SLOT = 8192
const SIZE = 4096 + 2 * SLOT + 4096

const IDENTITY = 0x0123456789abcdefn
const identity = '0123456789abcdef'

/** As the run-time reckons it, here with plain numbers: FNV-1a over bytes. */
function checkOf(...numbers: readonly (number | bigint)[]): bigint {
  const bytes = Buffer.alloc(8 * numbers.length)
  numbers.forEach((number, index) => bytes.writeBigUInt64LE(BigInt(number), 8 * index))
  let hash = 14695981039346656037n
  for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 1099511628211n) % 2n ** 64n
  return hash
}

/** A file whose slot 1 holds version 6 and slot 0 version 5: every float is its place in the file. */
function keptFile(): Buffer {
  const file = Buffer.alloc(SIZE)
  for (let offset = 4096; offset < SIZE; offset += 4) file.writeFloatLE(offset, offset)
  file.write('heddle states 2\n', 0, 'latin1')
  file.writeBigUInt64LE(BigInt(SLOT), 16)
  file.writeBigUInt64LE(BigInt(SIZE), 24)
  file.writeBigUInt64LE(IDENTITY, 32)
  for (const slot of [0, 1]) {
    file.writeBigUInt64LE(BigInt(5 + slot), 1024 + 1024 * slot)
    file.writeBigUInt64LE(checkOf(5 + slot, slot, SLOT, SIZE, IDENTITY), 1032 + 1024 * slot)
  }
  return file
}

/** As the run-time adds up, here word by word: each times 2p + 1 for its place p in the slot. */
function sumOf(slot: Buffer): string {
  let sum = 0n
  for (let place = 0; 4 * place < slot.length; place++) {
    sum += BigInt(2 * place + 1) * BigInt(slot.readUInt32LE(4 * place))
  }
  return BigInt.asUintN(64, sum).toString(16).padStart(16, '0')
}

const header = /the header of the file, which has \d+ bytes, is damaged: no record of a version agrees with it$/

describe('kept states', () => {
  const dir = temporaryDirectory()
  const entry: KeptEntry = { name: 'w', dtype: 'f32', shape: [3, 2], offset: 4096 + SLOT + 64 }
  const written = (change: (file: Buffer) => void = () => {}, size = SIZE): string => {
    const file = keptFile()
    change(file)
    const name = path.join(dir, 'states')
    fs.writeFileSync(name, Buffer.concat([file, Buffer.alloc(Math.max(0, size - SIZE))]).subarray(0, size))
    return name
  }
  const damaged = (change: (file: Buffer) => void, text: RegExp, size = SIZE): void =>
    refuses(() => readKept(written(change, size), { version: 6, identity }, entry), 'HD412', text)

  it('are read from the slot of their version, whatever their type', () => {
    const file = written((bytes) => bytes.writeInt32LE(-7, entry.offset - SLOT))
    const { offset } = entry
    assert.deepEqual(
      readKept(file, { version: 6, identity }, entry),
      Float32Array.from([0, 4, 8, 12, 16, 20], (step) => offset + step),
    )
    const integer = { ...entry, dtype: 'i32', shape: [], offset: offset - SLOT }
    assert.deepEqual(readKept(file, { version: 5, identity }, integer), Int32Array.of(-7))
    assert.deepEqual(readKept(file, { version: 5, identity }, { ...integer, dtype: 'bool' }), Int32Array.of(-7))
    const last = { ...entry, shape: [1], offset: SIZE - 4096 - 4 }
    assert.deepEqual(readKept(file, { version: 6, identity }, last), Float32Array.of(SIZE - 4100))
  })

  it('are held against the sum of every byte of their version', () => {
    const bytes = keptFile()
    const sums = [0, 1].map((slot) => sumOf(bytes.subarray(4096 + slot * SLOT, 4096 + (slot + 1) * SLOT)))
    const [sum5 = '', sum6 = ''] = sums
    checkKept(written(), { version: 5, identity }, sum5)
    checkKept(written(), { version: 6, identity }, sum6)
    const refused = (change: (file: Buffer) => void, text: RegExp, sum = sum6, size = SIZE): void =>
      refuses(() => checkKept(written(change, size), { version: 6, identity }, sum), 'HD412', text)
    const another = /what the file holds of version 6 is damaged: its checksum is not the one that was saved$/
    refused(() => {}, another, sum5)
    for (const place of [4096 + SLOT, 4096 + SLOT + 4097, 4096 + 2 * SLOT - 1]) {
      for (const bit of [1, 128]) refused((file) => file.writeUInt8(file.readUInt8(place) ^ bit, place), another)
    }
    // Bytes of others are none of it.
    for (const place of [4096, 4095 + SLOT, 4096 + 2 * SLOT]) {
      checkKept(
        written((file) => file.writeUInt8(file.readUInt8(place) ^ 1, place)),
        { version: 6, identity },
        sum6,
      )
    }
    // Two blocks that changed places, and one that is of the version before.
    refused((file) => file.copy(file, 4096 + SLOT, 4096 + SLOT + 4096, 4096 + 2 * SLOT), another)
    refused((file) => file.copy(file, 4096 + SLOT, 4096, 8192), another)
    refused((file) => file.fill(0, 4096 + SLOT, 8192 + SLOT), another)
    refused(() => {}, /the file is cut off/, sum6, SIZE - 4096)
    refused((file) => file.fill(0, 1024, 2064), header)
  })

  it('are refused where they are of another run', () => {
    const file = written()
    assert.equal(keptIdentity(file), identity)
    const other = { version: 6, identity: identity.replace('0', '1') }
    refuses(() => readKept(file, other, entry), 'HD412', /is of another run/)
    // Damage of the number is not another run: records are of the number that was written.
    for (const offset of [32, 39]) damaged((bytes) => bytes.writeUInt8(bytes.readUInt8(offset) ^ 1, offset), header)
    // Whoever gives a file another's number has not made its records.
    const taken = written((bytes) => bytes.writeBigUInt64LE(1n, 32))
    refuses(() => readKept(taken, { version: 6, identity: keptIdentity(taken) }, entry), 'HD412', header)
    refuses(() => keptIdentity(written((bytes) => bytes.fill(0, 0, 16))), 'HD412', /no file of kept states/)
    refuses(() => keptIdentity(written(undefined, 4095)), 'HD412', /no whole file of kept states/)
  })

  it('are refused where the version is another, or not whole', () => {
    const file = written()
    for (const version of [0, -1, 4, 7, 5.5, NaN, 2 ** 60]) {
      refuses(
        () => readKept(file, { version, identity }, entry),
        'HD412',
        /version \S+ is not in the file, which holds versions 5 and 6$/,
      )
    }
    for (const offset of [16, 17, 24]) {
      damaged((bytes) => bytes.writeUInt8(bytes.readUInt8(offset) ^ 1, offset), header)
    }
    const only5 = /version 6 is not in the file, which holds version 5$/
    for (const offset of [2048, 2055, 2056, 2063]) {
      damaged((bytes) => bytes.writeUInt8(bytes.readUInt8(offset) ^ 1, offset), only5)
    }
    damaged((bytes) => bytes.fill(0, 2048, 2064), only5)
    damaged((bytes) => {
      // A record that comes from the other slot.
      bytes.writeBigUInt64LE(checkOf(6, 0, SLOT, SIZE, IDENTITY), 2056)
    }, only5)
    damaged((bytes) => bytes.fill(0, 1024, 2064), header)
  })

  it('are refused where the file is shorter or longer than its header says, with both sizes', () => {
    damaged(() => {}, /the file is cut off: it has 24575 bytes, and 24576 by its header$/, SIZE - 1)
    damaged(() => {}, /something was added to the file: it has 28672 bytes, and 24576 by its header$/, SIZE + 4096)
  })

  it('are refused where slots would be larger than the file, whatever the record says', () => {
    const huge = 2 ** 40
    damaged((bytes) => {
      bytes.writeBigUInt64LE(BigInt(huge), 16)
      bytes.writeBigUInt64LE(checkOf(6, 1, huge, SIZE, IDENTITY), 2056)
    }, /the header of the file is damaged: it has slots of 1099511627776 bytes in a file of 24576$/)
    damaged((bytes) => {
      bytes.writeBigUInt64LE(8000n, 16)
      bytes.writeBigUInt64LE(checkOf(6, 1, 8000, SIZE, IDENTITY), 2056)
    }, /it has slots of 8000 bytes in a file of 24576$/)
    damaged((bytes) => bytes.writeBigUInt64LE(2n ** 64n - 1n, 16), header)
  })

  it('are refused in a file that is none, empty, short or not there', () => {
    damaged((bytes) => bytes.write('heddle states 1\n', 0, 'latin1'), /this is no file of kept states/)
    for (const size of [0, 4095]) {
      const text = new RegExp(`this is no whole file of kept states: it has ${size} bytes, its header alone 4096$`)
      damaged(() => {}, text, size)
    }
    refuses(() => readKept(path.join(dir, 'absent'), { version: 6, identity }, entry), 'HD401', /does not exist/)
    refuses(() => readKept(dir, { version: 6, identity }, entry), 'HD401', /not a regular file/)
  })

  it('are refused where an entry lies outside of its version', () => {
    const file = written()
    const outside = (offset: number, shape = [3, 2]): void =>
      refuses(
        () => readKept(file, { version: 6, identity }, { ...entry, offset, shape }),
        'HD412',
        /lies outside of what the file holds of/,
      )
    outside(0)
    outside(entry.offset - SLOT)
    outside(4096 + SLOT - 4)
    outside(4096 + 2 * SLOT - 20)
    outside(4096 + 2 * SLOT)
    outside(SIZE)
    outside(2 ** 50)
    outside(-4)
    outside(entry.offset, [2 ** 20, 2 ** 9])
  })

  it('are refused where an entry is none, before any memory is taken', () => {
    const file = written()
    const refused = (change: Partial<KeptEntry>): void =>
      refuses(
        () => readKept(file, { version: 6, identity }, { ...entry, ...change }),
        'HD412',
        /its description is damaged/,
      )
    for (const dtype of ['f16', 'bf16', 'F32', '']) refused({ dtype })
    for (const offset of [entry.offset + 1, NaN, 1.5, Infinity]) refused({ offset })
    for (const shape of [[0], [-1], [1.5], [NaN], [2 ** 53], [2 ** 30, 2 ** 30], [2 ** 40, 0]]) refused({ shape })
  })
})
