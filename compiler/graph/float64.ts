// The scalar language in plain doubles, with the functions of Math: the loose oracle that float32 results and
// derivatives are compared with. It promises no bits, and must not be used on a path that does.

import { InternalError } from '../diagnostic.ts'
import { float32 } from './float32.ts'
import type { Scalars } from './scalars.ts'

const TWO_OVER_ROOT_PI = 1.1283791670955126
const ONE_OVER_ROOT_PI = 0.5641895835477563
/** Above this the complement is small enough to subtract from 1, below it the series is short. */
const SERIES_LIMIT = 1.5

/**
 * The error function in double precision, relative error about 5e-16: Abramowitz and Stegun 7.1.6, whose terms all
 * have one sign, up to 1.5, and 1 − erfc beyond.
 */
export function erf(x: number): number {
  const magnitude = Math.abs(x)
  if (magnitude >= SERIES_LIMIT) return Math.sign(x) * (1 - complement(magnitude))
  const twiceSquare = 2 * x * x
  let term = x
  let sum = x
  for (let odd = 3; Math.abs(term) > Math.abs(sum) * 1e-17; odd += 2) {
    term *= twiceSquare / odd
    sum += term
  }
  return TWO_OVER_ROOT_PI * Math.exp(-x * x) * sum
}

/** 1 − erf(x), with relative error about 1e-15 in the positive tail too. */
export function erfc(x: number): number {
  return x > 0.5 ? complement(x) : 1 - erf(x)
}

/** erfc for x > 0.5: the continued fraction of Abramowitz and Stegun 7.1.14, from the inside out. */
function complement(x: number): number {
  if (x > 27.3) return 0
  let denominator = x
  // The number of terms that double precision needs grows as 1/x².
  for (let k = Math.ceil(20 + 400 / (x * x)); k >= 1; k--) denominator = x + k / 2 / denominator
  return (ONE_OVER_ROOT_PI * Math.exp(-x * x)) / denominator
}

function noBits(): never {
  throw new InternalError('the float64 oracle was asked for the bits of a float; only float32 has them')
}

/**
 * The scalar language over doubles: nothing is rounded to float32, constants included, and `fma` rounds twice.
 * Integers and conditions are those of `float32`. `bitsOf` and `fromBits` throw InternalError.
 */
export const float64: Scalars<number> = {
  ...float32,
  float: (value) => value,
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  fma: (a, b, c) => a * b + c,
  sqrt: (a) => Math.sqrt(a),
  toFloat: (a) => a,
  bitsOf: noBits,
  fromBits: noBits,
  own: { exp: Math.exp, log: Math.log, tanh: Math.tanh, erf, sin: Math.sin, cos: Math.cos },
}
