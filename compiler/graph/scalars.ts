// The scalar language in which elementwise operations and the project's own exp, tanh, … are written, once.
// An implementation gives the words a meaning: exact float32 (the interpreter), float64 (the loose oracle), or kernel
// expressions (the schedule). It must not know which one is listening.

/**
 * Scalar words over a carrier `V`. Floats are float32 unless the implementation says otherwise; integers are 32 bits,
 * wrapping. Every float word rounds once, to nearest even.
 */
export interface Scalars<V> {
  float(value: number): V
  int(value: number): V

  add(a: V, b: V): V
  sub(a: V, b: V): V
  mul(a: V, b: V): V
  div(a: V, b: V): V
  /** a·b + c with one rounding. */
  fma(a: V, b: V, c: V): V
  neg(a: V): V
  abs(a: V): V
  sqrt(a: V): V
  /** `a < b ? a : b`: the second operand when either is NaN. Put a value that may be NaN second to let it through. */
  min(a: V, b: V): V
  /** `a > b ? a : b`: the second operand when either is NaN. */
  max(a: V, b: V): V

  less(a: V, b: V): V
  lessEqual(a: V, b: V): V
  equal(a: V, b: V): V
  intLess(a: V, b: V): V
  intLessEqual(a: V, b: V): V
  intEqual(a: V, b: V): V
  and(a: V, b: V): V
  or(a: V, b: V): V
  not(a: V): V
  /** `condition ? a : b`, floats. */
  select(condition: V, a: V, b: V): V
  /** `condition ? a : b`, integers. */
  intSelect(condition: V, a: V, b: V): V

  intAdd(a: V, b: V): V
  intSub(a: V, b: V): V
  intMul(a: V, b: V): V
  intAnd(a: V, b: V): V
  intOr(a: V, b: V): V
  intXor(a: V, b: V): V
  /** Shifts by a constant number of bits, 0…31. `intShiftRight` fills with zeros, `intShiftSigned` with the sign. */
  intShiftLeft(a: V, bits: number): V
  intShiftRight(a: V, bits: number): V
  intShiftSigned(a: V, bits: number): V

  /** Nearest integer, ties to even; any integer for NaN and for values beyond ±2³¹. */
  toInt(a: V): V
  toFloat(a: V): V
  bitsOf(a: V): V
  fromBits(a: V): V

  /**
   * Words an implementation may answer itself instead of taking the project's polynomial (the float64 oracle does).
   * Absent in every implementation that promises bits.
   */
  readonly own?: Partial<Record<OwnWord, (a: V) => V>>
}

export type OwnWord = 'exp' | 'log' | 'tanh' | 'erf' | 'sin' | 'cos'
