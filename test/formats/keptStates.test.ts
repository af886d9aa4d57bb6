import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { keptIdentity, readKept } from '../../formats/keptStates.ts'
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

  it('are refused where they are of another run', () => {
    const file = written()
    assert.equal(keptIdentity(file), identity)
    const other = { version: 6, identity: identity.replace('0', '1') }
    refuses(() => readKept(file, other, entry), 'HD412', /is of another run/)
    for (const offset of [32, 39])
      damaged((bytes) => bytes.writeUInt8(bytes.readUInt8(offset) ^ 1, offset), /is of another run/)
    // Whoever gives a file another's number has not made its records.
    const taken = written((bytes) => bytes.writeBigUInt64LE(1n, 32))
    refuses(() => readKept(taken, { version: 6, identity: keptIdentity(taken) }, entry), 'HD412', /never was whole/)
    refuses(() => keptIdentity(written((bytes) => bytes.fill(0, 0, 16))), 'HD412', /no file of kept states/)
    refuses(() => keptIdentity(written(undefined, 4095)), 'HD412', /no file of kept states/)
  })

  it('are refused where the version is another, or not whole', () => {
    const file = written()
    for (const version of [0, -1, 4, 7, 5.5, NaN, 2 ** 60]) {
      refuses(
        () => readKept(file, { version, identity }, entry),
        'HD412',
        /is no longer in the file, or never was whole/,
      )
    }
    for (const offset of [16, 17, 24, 2048, 2055, 2056, 2063]) {
      damaged((bytes) => bytes.writeUInt8(bytes.readUInt8(offset) ^ 1, offset), /version 6 is no longer in the file/)
    }
    damaged((bytes) => bytes.fill(0, 2048, 2064), /version 6 is no longer/)
    damaged((bytes) => {
      // A record that comes from the other slot.
      bytes.writeBigUInt64LE(checkOf(6, 0, SLOT, SIZE), 2056)
    }, /version 6 is no longer/)
    damaged(() => {}, /version 6 is no longer/, SIZE - 1)
    damaged(() => {}, /version 6 is no longer/, SIZE + 4096)
  })

  it('are refused where slots would be larger than the file, whatever the record says', () => {
    const huge = 2 ** 40
    damaged((bytes) => {
      bytes.writeBigUInt64LE(BigInt(huge), 16)
      bytes.writeBigUInt64LE(checkOf(6, 1, huge, SIZE), 2056)
    }, /version 6 is no longer/)
    damaged((bytes) => bytes.writeBigUInt64LE(2n ** 64n - 1n, 16), /version 6 is no longer/)
  })

  it('are refused in a file that is none, empty, short or not there', () => {
    damaged((bytes) => bytes.write('heddle states 1\n', 0, 'latin1'), /this is no file of kept states/)
    damaged(() => {}, /this is no file of kept states/, 0)
    damaged(() => {}, /this is no file of kept states/, 4095)
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
