// The words of the scalar language as kernel expressions use them: what each takes. What it gives is `wordType` in ir.ts.
// Knows nothing of statements.

import type { ValueType, Word } from './ir.ts'

const F = 'f32' as const
const I = 'i32' as const
const B = 'bool' as const

/** Operand types per word; words that shift also need `bits`. */
export const wordOperands: Readonly<Record<Word, readonly ValueType[]>> = {
  add: [F, F],
  sub: [F, F],
  mul: [F, F],
  div: [F, F],
  fma: [F, F, F],
  neg: [F],
  abs: [F],
  sqrt: [F],
  min: [F, F],
  max: [F, F],
  less: [F, F],
  lessEqual: [F, F],
  equal: [F, F],
  intLess: [I, I],
  intLessEqual: [I, I],
  intEqual: [I, I],
  and: [B, B],
  or: [B, B],
  not: [B],
  select: [B, F, F],
  intSelect: [B, I, I],
  intAdd: [I, I],
  intSub: [I, I],
  intMul: [I, I],
  intAnd: [I, I],
  intOr: [I, I],
  intXor: [I, I],
  intShiftLeft: [I],
  intShiftRight: [I],
  intShiftSigned: [I],
  toInt: [F],
  toFloat: [I],
  bitsOf: [F],
  fromBits: [I],
}

export function isWord(text: string): text is Word {
  return Object.hasOwn(wordOperands, text)
}

export type ShiftWord = 'intShiftLeft' | 'intShiftRight' | 'intShiftSigned'

export function isShift(word: Word): word is ShiftWord {
  return word === 'intShiftLeft' || word === 'intShiftRight' || word === 'intShiftSigned'
}
