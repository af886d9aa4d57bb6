// One kernel per word and width, with the operands that hurt and what exact arithmetic makes of them. The differential
// tests of every tool chain share it.

import assert from 'node:assert/strict'
import { float32 } from '../../compiler/graph/float32.ts'
import { addIndex, ceilDivide, scaleIndex, size, variable } from '../../compiler/kernel/index.ts'
import type { Index } from '../../compiler/kernel/index.ts'
import { denseDims, wordType } from '../../compiler/kernel/ir.ts'
import type { Buffer, Expr, Kernel, Stmt, ValueType, Word } from '../../compiler/kernel/ir.ts'

/** Operand types of every word: a word that is forgotten here does not compile. */
export const operandTypes = {
  add: ['f32', 'f32'],
  sub: ['f32', 'f32'],
  mul: ['f32', 'f32'],
  div: ['f32', 'f32'],
  fma: ['f32', 'f32', 'f32'],
  neg: ['f32'],
  abs: ['f32'],
  sqrt: ['f32'],
  min: ['f32', 'f32'],
  max: ['f32', 'f32'],
  less: ['f32', 'f32'],
  lessEqual: ['f32', 'f32'],
  equal: ['f32', 'f32'],
  intLess: ['i32', 'i32'],
  intLessEqual: ['i32', 'i32'],
  intEqual: ['i32', 'i32'],
  and: ['bool', 'bool'],
  or: ['bool', 'bool'],
  not: ['bool'],
  select: ['bool', 'f32', 'f32'],
  intSelect: ['bool', 'i32', 'i32'],
  intAdd: ['i32', 'i32'],
  intSub: ['i32', 'i32'],
  intMul: ['i32', 'i32'],
  intAnd: ['i32', 'i32'],
  intOr: ['i32', 'i32'],
  intXor: ['i32', 'i32'],
  intShiftLeft: ['i32'],
  intShiftRight: ['i32'],
  intShiftSigned: ['i32'],
  toInt: ['f32'],
  toFloat: ['i32'],
  bitsOf: ['f32'],
  fromBits: ['i32'],
} as const satisfies Record<Word, readonly ValueType[]>

export const words = Object.keys(operandTypes) as Word[]

const shiftBits = [0, 1, 13, 31]

export interface WordCase {
  readonly word: Word
  readonly bits: number | undefined
}

export const wordCases = words.flatMap((word): WordCase[] =>
  word.startsWith('intShift') ? shiftBits.map((bits) => ({ word, bits })) : [{ word, bits: undefined }],
)

/** Elements per word: no multiple of any vector. */
export const ELEMENTS = 2411

export function argument(name: string, dtype: Buffer['dtype'], elements: number, access: Buffer['access']): Buffer {
  return { name, dtype, space: 'argument', dims: denseDims([elements]), access }
}

export function load(buffer: Buffer, index: Index, type: ValueType, lanes: number, valid?: Index): Expr {
  return { kind: 'load', buffer: buffer.name, indices: [index], type, lanes, ...(valid ? { valid } : {}) }
}

export function store(buffer: Buffer, index: Index, value: Expr, lanes: number, valid?: Index): Stmt {
  return { kind: 'store', buffer: buffer.name, indices: [index], value, lanes, ...(valid ? { valid } : {}) }
}

/** A kernel over `n` elements whose grid takes `lanes` at a time; the last vector lies partly inside. */
export function elementwise(
  name: string,
  inputs: readonly ValueType[],
  output: ValueType,
  lanes: number,
  value: (operands: readonly Expr[]) => { lets: readonly Stmt[]; result: Expr },
): Kernel {
  const buffers = inputs.map((type, position) => argument(`x${position}`, type, ELEMENTS, 'read'))
  const out = argument('out', output, ELEMENTS, 'write')
  const at = scaleIndex(variable('v'), lanes)
  const valid = lanes === 1 ? undefined : addIndex(size('n'), scaleIndex(at, -1))
  const { lets, result } = value(buffers.map((buffer, k) => load(buffer, at, inputs[k] ?? 'f32', lanes, valid)))
  const body: Stmt[] = [...lets, store(out, at, result, lanes, valid)]
  return {
    name,
    sizes: [{ name: 'n', bound: ELEMENTS }],
    arguments: [...buffers, out],
    locals: [],
    body: [{ kind: 'for', variable: 'v', extent: ceilDivide(size('n'), lanes), binding: 'grid', body }],
  }
}

export function wordKernel({ word, bits }: WordCase, lanes: number): Kernel {
  return elementwise(`${word} ${bits ?? ''} ${lanes}`, operandTypes[word], wordType(word), lanes, (args) => ({
    lets: [],
    result: { kind: 'apply', word, args, lanes, ...(bits === undefined ? {} : { bits }) },
  }))
}

/** A small generator with a seed (mulberry32): 32 random bits, as an int32. */
export function randomBits(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) | 0
  }
}

// Zeros, subnormals, neighbours of powers of two, halves, integers that do not fit, infinities, quiet NaN.
const hardFloats = [
  0, -0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 3.5, 1e-45, -1e-45, 1.1754942106924411e-38, 1.1754943508222875e-38, 3.4028234663852886e38,
  -3.4028234663852886e38, Infinity, -Infinity, NaN, 8388607.5, 8388608, 8388609, 16777217, 2147483520, 2147483648, -2147483648,
  1.0000001192092896, 0.9999999403953552, 1e20, -1e-20, 0.1, 3,
] // prettier-ignore
const hardInts = [
  0, 1, -1, 2, 31, -31, 255, 65535, 2147483647, -2147483648, -2147483647, 0x55555555, 16777217, -16777217, 2147483583,
]

/** Operands for one word: every pair of hard values first, then random ones. Int32 bits for all types. */
export function operandsOf(types: readonly ValueType[], seed: number): Int32Array[] {
  const random = randomBits(seed)
  const columns = types.map(() => new Int32Array(ELEMENTS))
  const pairs = hardFloats.length ** 2
  for (let i = 0; i < ELEMENTS; i++) {
    const exponent = (random() >>> 0) % 250
    types.forEach((type, k) => {
      const column = columns[k] as Int32Array
      const pick = (list: readonly number[]): number =>
        list[(k === 0 ? i : k === 1 ? Math.floor(i / list.length) : random() >>> 0) % list.length] as number
      if (type === 'bool') column[i] = random() & 1
      else if (type === 'i32')
        column[i] = i < hardInts.length ** 2 ? pick(hardInts) : random() >> ((random() >>> 0) % 32)
      else if (i < pairs) column[i] = float32.bitsOf(pick(hardFloats))
      // A third any bits, a third floats of like size, a third with few bits, where sums and products tie.
      else if (i % 3 === 0) column[i] = random()
      else if (i % 3 === 1) column[i] = (random() & 0x807fffff) | ((exponent + ((random() >>> 0) % 5)) << 23)
      else column[i] = (random() & 0x807ff000) | ((exponent + ((random() >>> 0) % 25)) << 23)
    })
  }
  // Products one half unit in the last place of the third operand, exactly and by the least amount off.
  if (types.length === 3 && types.every((type) => type === 'f32')) {
    const [a, b, c] = columns as [Int32Array, Int32Array, Int32Array]
    for (let i = pairs; i < pairs + 400; i++) {
      const odd = 2 ** -12 * (1 + ((random() >>> 0) % 4095))
      a[i] = float32.bitsOf(Math.fround((random() < 0 ? -1 : 1) * (1 + odd)))
      b[i] = float32.bitsOf(Math.fround(random() < 0 ? 1 / (1 + odd) : 1 - odd / 2))
      c[i] = float32.bitsOf(Math.fround((random() < 0 ? -1 : 1) * 2 ** 24 * (1 + 2 ** -23 * ((random() >>> 0) % 64))))
    }
  }
  return columns
}

/** What the interpreter's arithmetic gives for one element, as bits; undefined where the word promises nothing. */
export function expectedBits({ word, bits }: WordCase, operands: readonly number[]): number | undefined {
  const types: readonly ValueType[] = operandTypes[word]
  const values = types.map((type, k) => (type === 'f32' ? float32.fromBits(operands[k] ?? 0) : (operands[k] ?? 0)))
  const [first = 0] = values
  if (word === 'toInt' && !(Math.abs(first) < 2 ** 31)) return undefined
  // JavaScript need not keep the payload of a NaN, the machine does.
  if (word === 'bitsOf') return operands[0]
  const meaning = float32[word] as (...operands: number[]) => number
  const result = bits === undefined ? meaning(...values) : meaning(first, bits)
  return wordType(word) === 'f32' ? float32.bitsOf(result) : result
}

function isNaNBits(bits: number): boolean {
  return (bits & 0x7fffffff) > 0x7f800000
}

/** Compares bits; any NaN is as good as another. */
export function assertSameBits(
  what: string,
  actual: Int32Array,
  expected: (index: number) => number | undefined,
  type: ValueType,
): number {
  let compared = 0
  actual.forEach((bits, index) => {
    const wanted = expected(index)
    if (wanted === undefined) return
    compared++
    if (type === 'f32' && isNaNBits(wanted) && isNaNBits(bits)) return
    if (bits !== wanted) {
      assert.fail(`${what}, element ${index}: ${hex(bits)} instead of ${hex(wanted)}`)
    }
  })
  return compared
}

function hex(bits: number): string {
  return `0x${(bits >>> 0).toString(16).padStart(8, '0')}`
}

export function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
}

export function intsOf(bytes: Uint8Array | undefined): Int32Array {
  assert.ok(bytes && bytes.length % 4 === 0)
  return new Int32Array(bytes.slice().buffer)
}
