import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import fc from 'fast-check'
import { InternalError } from '../../compiler/diagnostic.ts'
import {
  float32Tensor,
  openSafetensors,
  readTensor,
  readTensorF32,
  refuseNonFinite,
  writeSafetensors,
} from '../../formats/safetensors.ts'
import type { NewTensor } from '../../formats/safetensors.ts'
import { floatBytes, fullDisk, rawSafetensors, refuses, temporaryDirectory, writeRaw } from './helpers.ts'
import { fullDisk as fullDevice, itOnFullDisk } from '../support/fullDisk.ts'

const EIGHT = floatBytes(1, 2, 3, 4, 5, 6, 7, 8)
const entry = (dtype: unknown, shape: unknown, offsets: unknown): string =>
  JSON.stringify({ dtype, shape, data_offsets: offsets })

describe('safetensors, hostile files', () => {
  const dir = temporaryDirectory()
  const refusesHeader = (
    header: string | Uint8Array,
    code: string,
    text: RegExp,
    data = EIGHT,
    claimed?: bigint,
  ): void => {
    const file = writeRaw(dir, 'hostile.safetensors', rawSafetensors(header, data, claimed))
    refuses(() => openSafetensors(file), code, text)
  }

  const good = `{"a":${entry('F32', [2, 3], [0, 24])},"b":${entry('F32', [2], [24, 32])}}`

  it('accepts the file that the others are broken from', () => {
    const file = writeRaw(dir, 'good.safetensors', rawSafetensors(good, EIGHT))
    const { tensors } = openSafetensors(file)
    assert.deepEqual([...tensors.keys()], ['a', 'b'])
    assert.deepEqual([...readTensorF32(tensors.get('b')!)], [7, 8])
  })

  it('refuses every truncation of it', () => {
    const whole = rawSafetensors(good, EIGHT)
    for (let length = 0; length < whole.byteLength; length++) {
      const file = writeRaw(dir, 'short.safetensors', whole.subarray(0, length))
      refuses(() => openSafetensors(file), length < 8 + good.length ? 'HD403' : 'HD404', /short\.safetensors/)
    }
    refuses(
      () => openSafetensors(writeRaw(dir, 'long.safetensors', Buffer.concat([whole, EIGHT]))),
      'HD403',
      /end at byte/,
    )
  })

  it('refuses a header length that lies', () => {
    refusesHeader(good, 'HD403', /truncated/, EIGHT, 5000n)
    refusesHeader(good, 'HD403', /18446744073709551615 bytes, more than/, EIGHT, 2n ** 64n - 1n)
    refusesHeader(good, 'HD403', /more than the 100000000/, EIGHT, 100_000_001n)
    refusesHeader(good, 'HD402', /not JSON/, EIGHT, BigInt(good.length - 3))
    refusesHeader(good, 'HD403', /does not begin/, EIGHT, 0n)
  })

  it('refuses JSON that is not plain', () => {
    refusesHeader(`{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,32]}}`, 'HD402', /not JSON/)
    refusesHeader(`{"a":${'['.repeat(100)}${']'.repeat(100)}}`, 'HD402', /nested deeper/)
    refusesHeader(`{"a":${'['.repeat(5_000_000)}`, 'HD402', /nested deeper/)
    refusesHeader(`{"a":${entry('F32', [8], [0, 32])},"a":${entry('F32', [8], [0, 32])}}`, 'HD402', /"a" stands twice/)
    refusesHeader(
      `{"a":${entry('F32', [8], [0, 32])},"\\u0061":${entry('F32', [8], [0, 32])}}`,
      'HD402',
      /stands twice/,
    )
    refusesHeader(
      `{"a":{"dtype":"F32","shape":[8],"data_offsets":[0,32],"shape":[9]}}`,
      'HD402',
      /"shape" stands twice/,
    )
    refusesHeader(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), 'HD402', /UTF-8/)
    refusesHeader(` {"a":${entry('F32', [8], [0, 32])}}`, 'HD403', /does not begin/)
    refusesHeader(`[]`, 'HD403', /does not begin/)
    refusesHeader(
      `{"__metadata__":{"format":1},"a":${entry('F32', [8], [0, 32])}}`,
      'HD403',
      /"format" is not a string/,
    )
  })

  it('refuses entries that are wrong', () => {
    const one = (dtype: unknown, shape: unknown, offsets: unknown, text: RegExp): void =>
      refusesHeader(`{"a":${entry(dtype, shape, offsets)}}`, 'HD404', text)
    one('F33', [8], [0, 32], /tensor "a".*"F33" is not known/)
    one('toString', [8], [0, 32], /not known/)
    one(4, [8], [0, 32], /not known/)
    one('F32', [-8], [0, 32], /list of sizes/)
    one('F32', [8.5], [0, 32], /list of sizes/)
    one('F32', ['8'], [0, 32], /list of sizes/)
    one('F32', [2 ** 53], [0, 32], /list of sizes/)
    one('F32', { length: 1 }, [0, 32], /list of sizes/)
    one('F32', Array(33).fill(1), [0, 32], /33 dimensions/)
    one('F32', [2 ** 30, 2 ** 30], [0, 32], /no countable size/)
    one('F32', [2 ** 30, 2 ** 30, 0], [0, 0], /no countable size/)
    one('F32', [2 ** 52], [0, 32], /no countable size/)
    one('F32', [7], [0, 32], /takes 28 bytes, not 32/)
    one('BF16', [8], [0, 32], /takes 16 bytes, not 32/)
    one('F4', [3], [0, 32], /no countable size/)
    one('F32', [8], [-4, 28], /not two byte positions/)
    one('F32', [8], [0, 32, 64], /not two byte positions/)
    one('F32', [8], [32, 0], /before it begins/)
    one('F32', [9], [0, 36], /ends at byte 36 of the data/)
    one('F32', [1e300], [0, 1e300], /list of sizes/)
    refusesHeader(`{"a":3}`, 'HD404', /not an object/)
    refusesHeader(`{"a":{}}`, 'HD404', /not known/)
  })

  it('refuses overlaps and gaps', () => {
    const two = (first: number[], second: number[]): string =>
      `{"a":${entry('F32', [(first[1]! - first[0]!) / 4], first)},"b":${entry('F32', [(second[1]! - second[0]!) / 4], second)}}`
    refusesHeader(two([0, 20], [16, 32]), 'HD404', /tensor "b".*inside that of tensor "a"/)
    refusesHeader(two([0, 32], [0, 32]), 'HD404', /inside/)
    refusesHeader(two([0, 12], [16, 32]), 'HD404', /4 bytes before its data/)
    refusesHeader(two([4, 16], [16, 32]), 'HD404', /4 bytes before its data/)
    refusesHeader(two([0, 16], [16, 28]), 'HD403', /end at byte/)
  })

  it('keeps terminal escapes of a name out of the message', () => {
    refusesHeader(`{"\\u001b[31mred\\u009b":${entry('F32', [7], [0, 32])}}`, 'HD404', /\\u001b\[31mred\\u009b/)
  })

  it('takes names that mean something to JavaScript as names', () => {
    const header = `{"__proto__":${entry('F32', [4], [0, 16])},"constructor":${entry('F32', [4], [16, 32])}}`
    const { tensors } = openSafetensors(writeRaw(dir, 'names.safetensors', rawSafetensors(header, EIGHT)))
    assert.deepEqual([...readTensorF32(tensors.get('__proto__')!)], [1, 2, 3, 4])
    assert.deepEqual([...tensors.keys()], ['__proto__', 'constructor'])
  })

  it('never crashes on mutated bytes', () => {
    const whole = rawSafetensors(good, EIGHT)
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(whole.byteLength - 1), fc.nat(255)), { maxLength: 6 }), (changes) => {
        const bytes = Buffer.from(whole)
        for (const [at, value] of changes) bytes[at] = value
        const file = writeRaw(dir, 'mutated.safetensors', bytes)
        try {
          for (const tensor of openSafetensors(file).tensors.values()) {
            assert.equal(readTensor(tensor).byteLength, tensor.bytes)
            assert.ok(tensor.begin + tensor.bytes <= bytes.byteLength)
          }
        } catch (error) {
          refuses(
            () => {
              throw error
            },
            (error as { code: string }).code,
            /^HD40[234] /,
          )
        }
      }),
      { numRuns: 300 },
    )
  })

  it('refuses what is no regular file, without waiting', function () {
    refuses(() => openSafetensors(dir), 'HD401', /not a regular file|directory/)
    refuses(() => openSafetensors(path.join(dir, 'absent.safetensors')), 'HD401', /does not exist/)
    refuses(() => openSafetensors(path.join(dir, 'a\0b')), 'HD401', /zero byte/)
    if (process.platform === 'win32') return
    const pipe = path.join(dir, 'pipe')
    execFileSync('mkfifo', [pipe])
    refuses(() => openSafetensors(pipe), 'HD401', /not a regular file/)
  })

  it('notices a file that shrinks after it was opened', () => {
    const file = writeRaw(dir, 'shrinks.safetensors', rawSafetensors(good, EIGHT))
    const { tensors } = openSafetensors(file)
    fs.truncateSync(file, fs.statSync(file).size - 4)
    refuses(() => readTensor(tensors.get('b')!), 'HD403', /became shorter/)
    refuses(() => readTensorF32(tensors.get('b')!), 'HD403', /became shorter/)
  })
})

describe('safetensors, reading and writing', () => {
  const dir = temporaryDirectory()

  it('has the layout of the reference writer', () => {
    const file = path.join(dir, 'layout.safetensors')
    writeSafetensors(
      file,
      [
        { name: 'bytes', dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 3) },
        { name: 'b', dtype: 'F32', shape: [1], data: floatBytes(0.5) },
        { name: 'h', dtype: 'BF16', shape: [], data: Uint8Array.of(0x80, 0x3f) },
        { name: 'a"', dtype: 'F32', shape: [1, 2], data: floatBytes(1, -2) },
      ],
      { format: 'pt' },
    )
    const text =
      '{"__metadata__":{"format":"pt"},"a\\"":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},' +
      '"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"h":{"dtype":"BF16","shape":[],"data_offsets":[12,14]},' +
      '"bytes":{"dtype":"U8","shape":[3],"data_offsets":[14,17]}}'
    const padded = text.padEnd(Math.ceil(text.length / 8) * 8)
    const data = Buffer.concat([floatBytes(1, -2), floatBytes(0.5), Uint8Array.of(0x80, 0x3f, 1, 2, 3)])
    assert.deepEqual(fs.readFileSync(file), rawSafetensors(padded, data))
    const opened = openSafetensors(file)
    assert.equal(opened.dataStart % 8, 0)
    assert.deepEqual({ ...opened.metadata }, { format: 'pt' })
    assert.deepEqual([...readTensorF32(opened.tensors.get('h')!)], [1])
    refuses(() => readTensorF32(opened.tensors.get('bytes')!), 'HD404', /dtype is U8/)
  })

  const widths = { F32: 4, F16: 2, BF16: 2, I32: 4, I64: 8, U8: 1, BOOL: 1, F64: 8 } as const
  const anyTensor = fc
    .record({
      name: fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }).filter((name) => name !== '__metadata__'),
      dtype: fc.constantFrom(...(Object.keys(widths) as (keyof typeof widths)[])),
      shape: fc.array(fc.nat(4), { maxLength: 3 }),
      seed: fc.nat(255),
    })
    .map(({ name, dtype, shape, seed }): NewTensor => {
      const bytes = shape.reduce((product, extent) => product * extent, widths[dtype])
      return { name, dtype, shape, data: Uint8Array.from({ length: bytes }, (_, index) => index * 37 + seed) }
    })

  it('reads back what it wrote, and writes the same bytes in any order', () => {
    const file = path.join(dir, 'round.safetensors')
    fc.assert(
      fc.property(
        fc.uniqueArray(anyTensor, { selector: (tensor) => tensor.name, maxLength: 6 }),
        fc.dictionary(fc.string({ maxLength: 5 }), fc.string({ maxLength: 5 }), { maxKeys: 3 }),
        (tensors, metadata) => {
          writeSafetensors(file, tensors, metadata)
          const bytes = fs.readFileSync(file)
          const opened = openSafetensors(file)
          assert.equal(opened.tensors.size, tensors.length)
          assert.deepEqual({ ...opened.metadata }, { ...metadata })
          for (const { name, dtype, shape, data } of tensors) {
            const found = opened.tensors.get(name)!
            assert.deepEqual({ dtype: found.dtype, shape: found.shape }, { dtype, shape })
            assert.deepEqual(readTensor(found), Buffer.from(data))
          }
          writeSafetensors(file, [...tensors].reverse(), metadata)
          assert.deepEqual(fs.readFileSync(file), bytes)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('widens halves across the window of reading', () => {
    const count = 2 * 1024 * 1024 + 7
    const halves = Uint16Array.from({ length: count }, (_, index) => (index * 31) % 0x7c00)
    const file = path.join(dir, 'halves.safetensors')
    writeSafetensors(file, [{ name: 'h', dtype: 'F16', shape: [count], data: new Uint8Array(halves.buffer) }])
    const widened = readTensorF32(openSafetensors(file).tensors.get('h')!)
    assert.equal(widened.length, count)
    for (let index = 0; index < count; index += index > count - 5000 ? 1 : 4093) {
      const exponent = halves[index]! >> 10
      const fraction = halves[index]! & 1023
      const expected = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15)
      assert.equal(widened[index], expected, `element ${index}`)
    }
  })

  it('refuses mistakes of the caller', () => {
    const file = path.join(dir, 'never.safetensors')
    const tensor = float32Tensor('a', [2], Float32Array.of(1, 2))
    assert.throws(() => writeSafetensors(file, [tensor, tensor]), InternalError)
    assert.throws(() => writeSafetensors(file, [{ ...tensor, shape: [3] }]), InternalError)
    assert.throws(() => writeSafetensors(file, [{ ...tensor, name: '__metadata__' }]), InternalError)
    assert.ok(!fs.existsSync(file))
  })

  it('finds the first value that is not finite, in every float type and at any alignment', () => {
    const memory = new Uint8Array(17)
    memory.set(floatBytes(1, 2, -Infinity, NaN), 1)
    const unaligned: NewTensor = { name: 'w', dtype: 'F32', shape: [4], data: memory.subarray(1) }
    refuses(() => refuseNonFinite(unaligned, 'out'), 'HD408', /out \(tensor "w"\) element 2/)
    for (const [dtype, bits, finite] of [
      ['F16', 0x7e00, 0x7bff],
      ['BF16', 0xff80, 0x7f7f],
    ] as const) {
      const data = (last: number): Uint8Array => new Uint8Array(Uint16Array.of(0x3f00, last).buffer)
      refuses(() => refuseNonFinite({ name: 'w', dtype, shape: [2], data: data(bits) }, 'out'), 'HD408', /element 1/)
      refuseNonFinite({ name: 'w', dtype, shape: [2], data: data(finite) }, 'out')
    }
    refuseNonFinite({ name: 'w', dtype: 'I32', shape: [1], data: Uint8Array.of(255, 255, 255, 255) }, 'out')
  })
})

describe('safetensors, a write that fails', () => {
  const tensor = float32Tensor('a', [2], Float32Array.of(3, 4))

  const check = (open: (file: string) => number, code: string, text: RegExp): void => {
    const dir = temporaryDirectory()
    const file = path.join(dir, 'model.safetensors')
    writeSafetensors(file, [float32Tensor('a', [2], Float32Array.of(1, 2))])
    const before = fs.readFileSync(file)
    refuses(() => writeSafetensors(file, [tensor], {}, { open }), code, text)
    assert.deepEqual(fs.readFileSync(file), before, 'the old file is as it was')
    assert.deepEqual(fs.readdirSync(dir), ['model.safetensors'], 'no temporary file is left')
    writeSafetensors(file, [tensor])
    assert.deepEqual([...readTensorF32(openSafetensors(file).tensors.get('a')!)], [3, 4])
  }

  it('leaves the old file when the disk is full before the first byte', () => {
    check(
      () => {
        throw fullDisk()
      },
      'HD405',
      /the disk is full, what was there before is unchanged/,
    )
  })

  itOnFullDisk('leaves the old file when the disk fills up while writing', () => {
    check(
      (file) => {
        fs.writeFileSync(file, '')
        return fs.openSync(fullDevice, 'w')
      },
      'HD405',
      /the disk is full/,
    )
  })

  it('says that the directory is missing, or that a directory is in the way', () => {
    const dir = temporaryDirectory()
    refuses(
      () => writeSafetensors(path.join(dir, 'no', 'x.safetensors'), [tensor]),
      'HD405',
      /directory does not exist/,
    )
    fs.mkdirSync(path.join(dir, 'x.safetensors'))
    refuses(() => writeSafetensors(path.join(dir, 'x.safetensors'), [tensor]), 'HD405', /a directory stands where/)
    assert.deepEqual(fs.readdirSync(dir), ['x.safetensors'])
  })
})
