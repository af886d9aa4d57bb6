// Exact float32 arithmetic in JavaScript: the meaning the interpreter gives to the scalar language, and so the bits
// every CPU backend has to reproduce. Knows nothing of operations, tensors or kernels.

import type { Scalars } from './scalars.ts'

const fround = Math.fround
const GREATEST = 3.4028234663852886e38
/** Halfway between the greatest float32 and 2¹²⁸: from here on, rounding to nearest gives infinity. */
const OVERFLOW_TIE = 3.4028235677973366e38
/** Adding and subtracting 1.5·2⁵² leaves the nearest integer, ties to even, of any double below 2⁵¹. */
const ROUNDING_SHIFT = 6755399441055744

const floatView = new Float32Array(1)
const intView = new Int32Array(floatView.buffer)

/**
 * a·b + c rounded once to float32, for float32 operands.
 *
 * The product of two float32 is exact in a double, so the double sum carries the only error before `fround`. Rounding
 * that sum again is wrong in one case: it sits exactly between two float32 and was itself inexact. Then the sign of
 * the sum's error (Knuth's two-sum) says which neighbour is nearer. This is rounding to odd without touching bits.
 */
export function fusedMultiplyAdd(a: number, b: number, c: number): number {
  const product = a * b
  const sum = product + c
  const rounded = fround(sum)
  const addend = sum - product
  const error = product - (sum - addend) + (c - addend)
  if (error === 0) return rounded
  // If `sum` is a tie, its mirror image across the tie is the other float32 neighbour. NaN and infinity fail the test.
  const mirrored = rounded + 2 * (sum - rounded)
  if (fround(mirrored) === mirrored) return error > 0 === mirrored > rounded ? mirrored : rounded
  if (sum === OVERFLOW_TIE && error < 0) return GREATEST
  if (sum === -OVERFLOW_TIE && error > 0) return -GREATEST
  return rounded
}

/** Nearest integer, ties to even, as an int32; 0 for NaN, wrapped (one of the allowed answers) beyond ±2³¹. */
function nearestInt(value: number): number {
  return (value + ROUNDING_SHIFT - ROUNDING_SHIFT) | 0
}

/** The 32 bits of a float32 as an int32. NaN comes back as some quiet NaN: engines do not keep its payload. */
export function float32Bits(value: number): number {
  floatView[0] = value
  return intView[0] as number
}

/** The float32 whose bits are the given int32. */
export function float32FromBits(bits: number): number {
  intView[0] = bits
  return floatView[0] as number
}

/**
 * The scalar language over float32 held in JavaScript numbers. Conditions are 0 and 1, integers are int32.
 * Operands must already be float32 (or int32) values; every float word returns one.
 */
export const float32: Scalars<number> = {
  float: (value) => fround(value),
  int: (value) => value | 0,

  // For one +, −, ·, ÷ or √ of float32 operands, rounding to double and then to float32 equals rounding once
  // (53 ≥ 2·24 + 2), also where the result is subnormal.
  add: (a, b) => fround(a + b),
  sub: (a, b) => fround(a - b),
  mul: (a, b) => fround(a * b),
  div: (a, b) => fround(a / b),
  fma: fusedMultiplyAdd,
  neg: (a) => -a,
  abs: (a) => Math.abs(a),
  sqrt: (a) => fround(Math.sqrt(a)),
  min: (a, b) => (a < b ? a : b),
  max: (a, b) => (a > b ? a : b),

  less: (a, b) => (a < b ? 1 : 0),
  lessEqual: (a, b) => (a <= b ? 1 : 0),
  equal: (a, b) => (a === b ? 1 : 0),
  intLess: (a, b) => (a < b ? 1 : 0),
  intLessEqual: (a, b) => (a <= b ? 1 : 0),
  intEqual: (a, b) => (a === b ? 1 : 0),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  not: (a) => a ^ 1,
  select: (condition, a, b) => (condition !== 0 ? a : b),
  intSelect: (condition, a, b) => (condition !== 0 ? a : b),

  intAdd: (a, b) => (a + b) | 0,
  intSub: (a, b) => (a - b) | 0,
  intMul: (a, b) => Math.imul(a, b),
  intAnd: (a, b) => a & b,
  intOr: (a, b) => a | b,
  intXor: (a, b) => a ^ b,
  intShiftLeft: (a, bits) => a << bits,
  intShiftRight: (a, bits) => (a >>> bits) | 0,
  intShiftSigned: (a, bits) => a >> bits,

  toInt: nearestInt,
  toFloat: (a) => fround(a),
  bitsOf: float32Bits,
  fromBits: float32FromBits,
}
