// The words of the scalar language, and what lies in memory, as WGSL. Only spelling lives here.

import type { DType } from '../../../compiler/graph/axis.ts'
import type { ValueType, Word } from '../../../compiler/kernel/ir.ts'

/** WGSL text in which `$1`, `$2`, `$3` stand for operands and `$bits` for the constant of a shift. */
export type Template = string

export const valueTypes = { f32: 'f32', i32: 'i32', bool: 'bool' } as const satisfies Record<ValueType, string>

/** What a storage buffer's array holds: 16-bit floats lie two to a word, the earlier one in the low half. */
export const storedTypes = { f32: 'f32', i32: 'i32', bool: 'i32', f16: 'u32', bf16: 'u32' } as const satisfies Record<
  DType,
  string
>

export const words = {
  add: '($1 + $2)',
  sub: '($1 - $2)',
  mul: '($1 * $2)',
  div: '($1 / $2)',
  fma: 'fma($1, $2, $3)',
  neg: '(-$1)',
  abs: 'abs($1)',
  sqrt: 'sqrt($1)',
  // Not `min` and `max`, which may return either operand when one is NaN: the second is promised.
  min: 'least($1, $2)',
  max: 'greatest($1, $2)',
  less: '($1 < $2)',
  lessEqual: '($1 <= $2)',
  equal: '($1 == $2)',
  intLess: '($1 < $2)',
  intLessEqual: '($1 <= $2)',
  intEqual: '($1 == $2)',
  and: '($1 && $2)',
  or: '($1 || $2)',
  not: '(!$1)',
  select: 'select($3, $2, $1)',
  intSelect: 'select($3, $2, $1)',
  intAdd: '($1 + $2)',
  intSub: '($1 - $2)',
  intMul: '($1 * $2)',
  intAnd: '($1 & $2)',
  intOr: '($1 | $2)',
  intXor: '($1 ^ $2)',
  intShiftLeft: '($1 << $bitsu)',
  intShiftRight: 'bitcast<i32>(bitcast<u32>($1) >> $bitsu)',
  intShiftSigned: '($1 >> $bitsu)',
  // `round` goes to even at ties.
  toInt: 'i32(round($1))',
  toFloat: 'f32($1)',
  bitsOf: 'bitcast<i32>($1)',
  fromBits: 'bitcast<f32>($1)',
} as const satisfies Record<Word, Template>

/** A load of element `$2` of array `$1`. */
export const loads = {
  f32: '$1[$2]',
  i32: '$1[$2]',
  bool: '($1[$2] != 0)',
  f16: 'widen_f16($1[($2) / 2], $2)',
  bf16: 'widen_bf16($1[($2) / 2], $2)',
} as const satisfies Record<DType, Template>

/** What is stored for a value `$1`. 16-bit floats are only read. */
export const stored: Readonly<Partial<Record<DType, Template>>> = { f32: '$1', i32: '$1', bool: 'select(0, 1, $1)' }

/** Functions that the templates call, each printed only where it is used. */
export const helpers: Readonly<Record<string, string>> = {
  least: 'fn least(a: f32, b: f32) -> f32 {\n  return select(b, a, a < b);\n}',
  greatest: 'fn greatest(a: f32, b: f32) -> f32 {\n  return select(b, a, a > b);\n}',
  widen_f16: 'fn widen_f16(word: u32, place: i32) -> f32 {\n  return unpack2x16float(word)[place & 1];\n}',
  widen_bf16:
    'fn widen_bf16(word: u32, place: i32) -> f32 {\n  return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (place & 1) == 1));\n}',
}

/** Floats that WGSL has no literal for and whose constant expressions it refuses: read from variables, never folded. */
export const uncommon = { infinity: '0x7f800000u', not_a_number: '0x7fc00000u' } as const
export type Uncommon = keyof typeof uncommon

/** Puts operands into a template. */
export function fill(template: Template, operands: readonly string[], bits?: number): string {
  return template.replace(/\$(\d|bits)/g, (_, hole: string) =>
    hole === 'bits' ? String(bits) : (operands[Number(hole) - 1] ?? ''),
  )
}

/** Names of the helpers that a template calls. */
export function helpersIn(template: Template): string[] {
  return Object.keys(helpers).filter((name) => template.startsWith(`${name}(`))
}
