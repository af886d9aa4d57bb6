// What each polynomial of compiler/graph/math.ts approximates, where, and which error counts. Targets are series of
// plain double arithmetic wherever cancellation would spoil Math's own functions.

import { erf, erfc } from '../../compiler/graph/float64.ts'
import type { Problem } from './remez.ts'

/** Σ c(k)·xᵏ until the terms no longer count. */
function series(x: number, coefficient: (k: number) => number): number {
  let sum = 0
  let power = 1
  for (let k = 0; k < 120; k++) {
    const term = coefficient(k) * power
    sum += term
    if (k > 2 && Math.abs(term) < 1e-18 * Math.abs(sum)) break
    power *= x
  }
  return sum
}

function factorial(n: number): number {
  let product = 1
  for (let k = 2; k <= n; k++) product *= k
  return product
}

/** Half of ln 2, and what rounding in the reduction adds. */
const EXP_LIMIT = 0.34665
/** π/4, and what the rounded quotient adds for |x| up to 2¹⁷. */
const ANGLE_LIMIT = 0.7895

/** The named polynomials, in the order in which they are printed. */
export const PROBLEMS = {
  /** (eʳ − 1 − r)/r²; the error counts relative to eʳ − 1, because tanh uses that. */
  EXP: {
    from: -EXP_LIMIT,
    to: EXP_LIMIT,
    degree: 4,
    target: (r) => series(r, (k) => 1 / factorial(k + 2)),
    weight: (r) => Math.abs(r) / series(r, (k) => 1 / factorial(k + 1)),
  },
  /** (log(1 + f) − f + f²/2)/f³ between √½ and √2; the error counts relative to log(1 + f). */
  LOG: {
    from: Math.SQRT1_2 - 1,
    to: Math.SQRT2 - 1,
    degree: 7,
    target: (f) => series(f, (k) => (k % 2 === 0 ? 1 : -1) / (k + 3)),
    weight: (f) => (f * f) / series(f, (k) => (k % 2 === 0 ? 1 : -1) / (k + 1)),
  },
  /** (sin r − r)/r³ in z = r²; relative to sin r. */
  SIN: {
    from: 0,
    to: ANGLE_LIMIT ** 2,
    degree: 2,
    target: (z) => series(z, (k) => (k % 2 === 0 ? -1 : 1) / factorial(2 * k + 3)),
    weight: (z) => z / series(z, (k) => (k % 2 === 0 ? 1 : -1) / factorial(2 * k + 1)),
  },
  /** (cos r − 1 + r²/2)/r⁴ in z = r²; relative to cos r. */
  COS: {
    from: 0,
    to: ANGLE_LIMIT ** 2,
    degree: 2,
    target: (z) => series(z, (k) => (k % 2 === 0 ? 1 : -1) / factorial(2 * k + 4)),
    weight: (z) => (z * z) / series(z, (k) => (k % 2 === 0 ? 1 : -1) / factorial(2 * k)),
  },
  /** erf(x)/x − 1 in z = x², for |x| < 1; relative to erf(x). */
  ERF_NEAR: {
    from: 0,
    to: 1,
    degree: 6,
    target: (z) => (z === 0 ? 1.1283791670955126 : erf(Math.sqrt(z)) / Math.sqrt(z)) - 1,
    weight: (z) => (z === 0 ? 1 : Math.sqrt(z) / erf(Math.sqrt(z))),
  },
  /** log(erfc(x)) for 1 ≤ x ≤ 4; an error moves erf by erfc times as much. */
  ERF_FAR: {
    from: 1,
    to: 4,
    degree: 6,
    target: (x) => Math.log(erfc(x)),
    weight: (x) => erfc(x) / erf(x),
  },
} as const satisfies Record<string, Problem>

export type PolynomialName = keyof typeof PROBLEMS
