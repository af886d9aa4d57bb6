// The project's own exp, log, tanh, erf, sin, cos, written once in the scalar language: no libm, no table, no branch,
// so that the interpreter and every kernel give the same bits. It must not know which implementation is listening.

import type { OwnWord, Scalars } from './scalars.ts'

type ScalarFunction = <V>(s: Scalars<V>, x: V) => V

/**
 * Minimax polynomials, constant term first, each number an exact float32. Printed by `tools/minimax/fit.ts`; what each
 * one approximates stands in `tools/minimax/functions.ts`.
 */
// prettier-ignore
export const POLYNOMIALS = {
  EXP: [0.4999999701976776, 0.16666539013385773, 0.04166775196790695, 0.008367105387151241, 0.0013836747966706753],
  LOG: [0.3333333134651184, -0.250008225440979, 0.20001262426376343, -0.16623343527317047, 0.1420097053050995, -0.1315944790840149, 0.12766464054584503, -0.07642415910959244],
  SIN: [-0.16666653752326965, 0.008332106284797192, -0.00019507882825564593],
  COS: [0.04166664555668831, -0.0013887304812669754, 0.000024431416022707708],
  ERF_NEAR: [0.12837916612625122, -0.3761262595653534, 0.11283578723669052, -0.026853347197175026, 0.005187162198126316, -0.0007997853099368513, 0.00007806903158780187],
  ERF_FAR: [-0.00034152469015680254, -1.1270891427993774, -0.6381449699401855, -0.10310659557580948, 0.021837975829839706, -0.002947635482996702, 0.0001863770594354719],
} as const

/** The smallest float32 above −126·ln 2: from here up eˣ is a normal number, below it the result is 0. */
const EXP_LEAST = -87.33654022216797
/** The greatest float32 below ln(greatest float32). */
const EXP_GREATEST = 88.72283172607422
const GREATEST = 3.4028234663852886e38
const LEAST_NORMAL = 1.1754943508222875e-38

const LOG2_E = 1.4426950216293335
/** ln 2 in two parts; the first has 15 bits, so that its product with an exponent is exact even without fma. */
const LN2_HIGH = 0.693145751953125
const LN2_LOW = 0.000001428606765330187

const TWO_OVER_PI = 0.6366197466850281
/** π/2 as three float32. */
const HALF_PI_HIGH = 1.5707963705062866
const HALF_PI_MIDDLE = -4.371138828673793e-8
const HALF_PI_LOW = -1.7151245100058819e-15
/** Beyond ±2¹⁷ an angle has lost its fraction (one unit in the last place is 1/64) and the reduction its margin. */
const ANGLE_GREATEST = 131072

const ONE_BITS = 0x3f800000
const ROOT_HALF_BITS = 0x3f3504f3
const MANTISSA_MASK = 0x007fffff
const SIGN_MASK = -0x80000000
const QUIET_NAN_BITS = 0x7fc00000
const MINUS_INFINITY_BITS = -0x00800000

/**
 * eˣ. At most 1.05 ulp. Exactly 0 below −87.33654 (where eˣ is subnormal) and exactly 1 at ±0; never above 1 for
 * x ≤ 0; +∞ from 88.72284 on; NaN stays NaN.
 */
export const exp: ScalarFunction = (s, x) => {
  if (s.own?.exp) return s.own.exp(x)
  const { power, excess } = exponential(s, x)
  // 2ⁿ goes into the exponent field by addition: as a factor it would overflow at n = 128, where the product does not.
  const scaled = s.fromBits(s.intAdd(s.bitsOf(s.add(excess, s.float(1))), s.intShiftLeft(power, 23)))
  // Overflow and NaN both come out of the product, without an infinity that WGSL could not spell.
  const bounded = s.select(s.lessEqual(x, s.float(EXP_GREATEST)), scaled, s.mul(x, s.float(GREATEST)))
  return s.select(s.less(x, s.float(EXP_LEAST)), s.float(0), bounded)
}

/**
 * log x. At most 0.95 ulp, subnormals included. log(±0) = −∞, log(+∞) = +∞, NaN for negative x and for NaN.
 */
export const log: ScalarFunction = (s, x) => {
  if (s.own?.log) return s.own.log(x)
  const subnormal = s.less(x, s.float(LEAST_NORMAL))
  const normal = s.select(subnormal, s.mul(x, s.float(2 ** 23)), x)
  // x = 2ᵉ·(1 + f) with 1 + f between √½ and √2, so that log x near 1 has e = 0 and keeps its relative accuracy.
  const offset = s.intSub(s.bitsOf(normal), s.int(ROOT_HALF_BITS))
  const mantissa = s.intAdd(s.intAnd(offset, s.int(MANTISSA_MASK)), s.int(ROOT_HALF_BITS))
  const f = s.sub(s.fromBits(mantissa), s.float(1))
  const shift = s.intSelect(subnormal, s.int(-23), s.int(0))
  const e = s.toFloat(s.intAdd(s.intShiftSigned(offset, 23), shift))

  const square = s.mul(f, f)
  const tail = s.mul(square, s.fma(horner(s, POLYNOMIALS.LOG, f), f, s.float(-0.5)))
  const near = s.add(f, s.fma(e, s.float(LN2_LOW), tail))
  const finite = s.fma(e, s.float(LN2_HIGH), near)

  const unbounded = s.select(s.lessEqual(x, s.float(GREATEST)), finite, x)
  const pole = s.intSelect(s.equal(x, s.float(0)), s.int(MINUS_INFINITY_BITS), s.int(QUIET_NAN_BITS))
  return s.select(s.lessEqual(x, s.float(0)), s.fromBits(pole), unbounded)
}

/**
 * tanh x. At most 2.6 ulp, relative accuracy down to subnormals; odd to the bit; exactly ±1 beyond ±9.02.
 */
export const tanh: ScalarFunction = (s, x) => {
  if (s.own?.tanh) return s.own.tanh(x)
  const magnitude = s.abs(x)
  // tanh a = E/(E + 2) with E = e²ᵃ − 1. At 2a = 20 the 2 is lost in rounding, so the quotient is exactly 1.
  const { power, excess } = exponential(s, s.min(s.float(20), s.add(magnitude, magnitude)))
  const scale = powerOfTwo(s, power)
  const difference = s.fma(scale, excess, s.sub(scale, s.float(1)))
  return withSignOf(s, s.div(difference, s.add(difference, s.float(2))), x)
}

/**
 * The error function. At most 1.1 ulp, relative accuracy down to subnormals; odd to the bit; exactly ±1 beyond ±3.92.
 */
export const erf: ScalarFunction = (s, x) => {
  if (s.own?.erf) return s.own.erf(x)
  const magnitude = s.min(s.float(4), s.abs(x))
  const near = s.fma(horner(s, POLYNOMIALS.ERF_NEAR, s.mul(magnitude, magnitude)), magnitude, magnitude)
  // Here erfc lies between 2⁻²⁶ and 0.16, and the polynomial is its logarithm.
  const { power, excess } = exponential(s, horner(s, POLYNOMIALS.ERF_FAR, magnitude))
  const scale = powerOfTwo(s, power)
  const far = s.sub(s.float(1), s.fma(scale, excess, scale))
  return withSignOf(s, s.select(s.less(magnitude, s.float(1)), near, far), x)
}

/**
 * sin x, x in radians. At most 1.6 ulp (and 1e-7) for |x| ≤ 131,072 (2¹⁷); odd to the bit; NaN beyond, where neighbouring
 * float32 angles are too far apart to mean anything.
 */
export const sin: ScalarFunction = (s, x) => {
  if (s.own?.sin) return s.own.sin(x)
  const { quadrant, sine, cosine } = circle(s, s.abs(x))
  const value = s.select(isOdd(s, quadrant), cosine, sine)
  return angleInRange(s, x, withSignOf(s, negatedByBit1(s, value, quadrant), x))
}

/**
 * cos x, x in radians. At most 1.6 ulp (and 1e-7) for |x| ≤ 131,072 (2¹⁷); even to the bit; NaN beyond.
 */
export const cos: ScalarFunction = (s, x) => {
  if (s.own?.cos) return s.own.cos(x)
  const { quadrant, sine, cosine } = circle(s, s.abs(x))
  const value = s.select(isOdd(s, quadrant), sine, cosine)
  return angleInRange(s, x, negatedByBit1(s, value, s.intAdd(quadrant, s.int(1))))
}

/** 1/√x, two correctly rounded steps: at most 1.5 ulp. +∞ at 0, NaN for negative x. */
export const reciprocalSqrt: ScalarFunction = (s, x) => s.div(s.float(1), s.sqrt(x))

/** 1/(1 + e⁻ˣ). At most 2.5 ulp; 0 below −88.73, exactly 1 above 16.64. */
export const sigmoid: ScalarFunction = (s, x) => s.div(s.float(1), s.add(s.float(1), exp(s, s.neg(x))))

/** Each word that the float64 oracle may answer itself, by name. */
export const OWN_FUNCTIONS = { exp, log, tanh, erf, sin, cos } satisfies Record<OwnWord, ScalarFunction>

/**
 * eˣ = 2ⁿ·(1 + excess) with n the nearest integer to x/ln 2 (`power`, an integer) and |excess| < 0.42 accurate to one
 * ulp even where it is tiny. Means nothing outside −88 < x < 89; a NaN gives a NaN excess.
 */
function exponential<V>(s: Scalars<V>, x: V): { power: V; excess: V } {
  const power = s.toInt(s.mul(x, s.float(LOG2_E)))
  const n = s.toFloat(power)
  const r = s.fma(n, s.float(-LN2_LOW), s.fma(n, s.float(-LN2_HIGH), x))
  return { power, excess: s.fma(s.mul(r, r), horner(s, POLYNOMIALS.EXP, r), r) }
}

/** 2ⁿ for −126 ≤ n ≤ 127. */
function powerOfTwo<V>(s: Scalars<V>, power: V): V {
  return s.fromBits(s.intAdd(s.intShiftLeft(power, 23), s.int(ONE_BITS)))
}

/** The quadrant of an angle ≥ 0 (an integer, its two low bits count) and sine and cosine of what remains, |r| < 0.79. */
function circle<V>(s: Scalars<V>, angle: V): { quadrant: V; sine: V; cosine: V } {
  const quadrant = s.toInt(s.mul(angle, s.float(TWO_OVER_PI)))
  const n = s.toFloat(quadrant)
  // The first step is exact: the difference is a multiple of the smaller unit in the last place and below 2²⁴ of them.
  const high = s.fma(n, s.float(-HALF_PI_HIGH), angle)
  const r = s.fma(n, s.float(-HALF_PI_LOW), s.fma(n, s.float(-HALF_PI_MIDDLE), high))
  const z = s.mul(r, r)
  const sine = s.fma(s.mul(z, r), horner(s, POLYNOMIALS.SIN, z), r)
  const cosine = s.fma(s.mul(z, z), horner(s, POLYNOMIALS.COS, z), s.fma(z, s.float(-0.5), s.float(1)))
  return { quadrant, sine, cosine }
}

function angleInRange<V>(s: Scalars<V>, x: V, value: V): V {
  const nan = s.fromBits(s.intOr(s.bitsOf(x), s.int(QUIET_NAN_BITS)))
  return s.select(s.lessEqual(s.abs(x), s.float(ANGLE_GREATEST)), value, nan)
}

function isOdd<V>(s: Scalars<V>, integer: V): V {
  return s.intEqual(s.intAnd(integer, s.int(1)), s.int(1))
}

/** The value with its sign turned where bit 1 of the integer is set. */
function negatedByBit1<V>(s: Scalars<V>, value: V, integer: V): V {
  return s.fromBits(s.intXor(s.bitsOf(value), s.intShiftLeft(s.intAnd(integer, s.int(2)), 30)))
}

/** The value with its sign turned where x is negative, −0 included. */
function withSignOf<V>(s: Scalars<V>, value: V, x: V): V {
  return s.fromBits(s.intXor(s.bitsOf(value), s.intAnd(s.bitsOf(x), s.int(SIGN_MASK))))
}

/** Σ cₖ xᵏ with one fused multiply-add per degree. */
function horner<V>(s: Scalars<V>, coefficients: readonly number[], x: V): V {
  let sum = s.float(coefficients[coefficients.length - 1] as number)
  for (let k = coefficients.length - 2; k >= 0; k--) sum = s.fma(sum, x, s.float(coefficients[k] as number))
  return sum
}
