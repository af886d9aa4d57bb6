// One lane, the same on every instruction set but for fused multiply-add and rounding to integers. The functions are
// plain C++ that leaves a compiler no freedom: no contraction, no overflow of signed integers, no libm.

import type { Spelling } from './table.ts'

/** C++ behind the scalar templates; goes in front of a table's own prelude. */
export const scalarPrelude = `#define INLINE [[maybe_unused]] static inline __attribute__((always_inline))

INLINE int64_t least_index(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE float least(float a, float b);
INLINE float greatest(float a, float b);
INLINE int32_t wrapping_add(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }
INLINE int32_t wrapping_sub(int32_t a, int32_t b) { return (int32_t)((uint32_t)a - (uint32_t)b); }
INLINE int32_t wrapping_mul(int32_t a, int32_t b) { return (int32_t)((uint32_t)a * (uint32_t)b); }
INLINE int32_t bits_of(float value) { int32_t bits; __builtin_memcpy(&bits, &value, 4); return bits; }
INLINE float from_bits(int32_t bits) { float value; __builtin_memcpy(&value, &bits, 4); return value; }
INLINE float widen_bf16(uint16_t stored) { return from_bits((int32_t)((uint32_t)stored << 16)); }
// The exponent is moved by a multiplication, so that subnormals come out right; infinity and NaN are mended after it.
INLINE float widen_f16(uint16_t stored) {
  const float moved = from_bits((stored & 0x7fff) << 13) * 0x1p112f;
  const int32_t endless = (stored & 0x7c00) == 0x7c00 ? 0x7f800000 : 0;
  return from_bits(bits_of(moved) | endless | (int32_t)((uint32_t)(stored & 0x8000) << 16));
}
template <typename T> INLINE T load_if(const T* from, int64_t valid) { return valid > 0 ? *from : T(0); }
template <typename T> INLINE void store_if(T* to, T value, int64_t valid) { if (valid > 0) *to = value; }
INLINE float tree_add_of(const float* p) {
  float partial[8];
  for (int i = 0; i < 8; i++) partial[i] = p[i] + p[i + 8];
  for (int half = 4; half > 0; half /= 2) for (int i = 0; i < half; i++) partial[i] += partial[i + half];
  return partial[0];
}
INLINE float tree_max_of(const float* p) {
  float partial[8];
  for (int i = 0; i < 8; i++) partial[i] = greatest(p[i], p[i + 8]);
  for (int half = 4; half > 0; half /= 2)
    for (int i = 0; i < half; i++) partial[i] = greatest(partial[i], partial[i + half]);
  return partial[0];
}
`

/** The minimum and maximum of `Scalars` where compilers keep their hands off them; goes into a table's prelude. */
export const plainExtremes = `INLINE float least(float a, float b) { return a < b ? a : b; }
INLINE float greatest(float a, float b) { return a > b ? a : b; }
`

/** The fixed tree over 16 floats in memory: what a register buffer that is no row of vectors falls back to. */
export const memoryTree = { add: 'tree_add_of($1)', max: 'tree_max_of($1)' } as const

/** The two words that have no portable spelling. */
export interface ScalarInstructions {
  readonly fma: string
  readonly toInt: string
}

export function scalarSpelling(instructions: ScalarInstructions): Spelling {
  return {
    types: { f32: 'float', i32: 'int32_t', bool: 'bool' },
    words: {
      add: '($1 + $2)',
      sub: '($1 - $2)',
      mul: '($1 * $2)',
      div: '($1 / $2)',
      fma: instructions.fma,
      neg: '(-$1)',
      abs: '__builtin_fabsf($1)',
      sqrt: '__builtin_sqrtf($1)',
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
      select: '($1 ? $2 : $3)',
      intSelect: '($1 ? $2 : $3)',
      intAdd: 'wrapping_add($1, $2)',
      intSub: 'wrapping_sub($1, $2)',
      intMul: 'wrapping_mul($1, $2)',
      intAnd: '($1 & $2)',
      intOr: '($1 | $2)',
      intXor: '($1 ^ $2)',
      intShiftLeft: '(int32_t)((uint32_t)$1 << $bits)',
      intShiftRight: '(int32_t)((uint32_t)$1 >> $bits)',
      intShiftSigned: '($1 >> $bits)',
      toInt: instructions.toInt,
      toFloat: '(float)$1',
      bitsOf: 'bits_of($1)',
      fromBits: 'from_bits($1)',
    },
    load: { f32: '$1', i32: '$1', bool: '($1 != 0)', f16: 'widen_f16($1)', bf16: 'widen_bf16($1)' },
    loadPartial: {
      f32: 'load_if(&$1, $2)',
      i32: 'load_if(&$1, $2)',
      bool: '(load_if(&$1, $2) != 0)',
      f16: 'widen_f16(load_if(&$1, $2))',
      bf16: 'widen_bf16(load_if(&$1, $2))',
    },
    store: { f32: '$1 = $2', i32: '$1 = $2', bool: '$1 = $2 ? 1 : 0' },
    storePartial: {
      f32: 'store_if(&$1, $2, $3)',
      i32: 'store_if(&$1, $2, $3)',
      bool: 'store_if(&$1, ($2 ? 1 : 0), $3)',
    },
  }
}

/** Memory access by the functions that every table's prelude defines under the same names. */
export const partialAccess: Pick<Spelling, 'loadPartial' | 'storePartial'> = {
  loadPartial: {
    f32: 'partial_load_f32($1, $2)',
    i32: 'partial_load_i32($1, $2)',
    bool: 'mask_of(partial_load_i32($1, $2))',
    f16: 'vector_of_f16(partial_load_u16($1, $2))',
    bf16: 'vector_of_bf16(partial_load_u16($1, $2))',
  },
  storePartial: {
    f32: 'partial_store_f32($1, $2, $3)',
    i32: 'partial_store_i32($1, $2, $3)',
    bool: 'partial_store_i32($1, ones_of($2), $3)',
  },
}
