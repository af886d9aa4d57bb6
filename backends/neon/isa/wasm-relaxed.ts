// WebAssembly SIMD with the relaxed multiply-add, 4 lanes. An engine may leave that multiply-add unfused: the run-time
// probes it once at start. Only spelling lives here.

import { partialAccess, scalarSpelling } from './scalar.ts'
import type { InstructionSet } from './table.ts'

const prelude = `// The engine's own minimum of two operands in this order is b < a ? b : a, so the operands change places.
INLINE v128_t vector_min(v128_t a, v128_t b) { return wasm_f32x4_pmin(b, a); }
INLINE v128_t vector_max(v128_t a, v128_t b) { return wasm_f32x4_pmax(b, a); }
// clang 22 makes a relaxed minimum, whose zeros and NaN are any, of several scalar a < b ? a : b; of these it does not.
INLINE float least(float a, float b) {
  return wasm_f32x4_extract_lane(vector_min(wasm_f32x4_splat(a), wasm_f32x4_splat(b)), 0);
}
INLINE float greatest(float a, float b) {
  return wasm_f32x4_extract_lane(vector_max(wasm_f32x4_splat(a), wasm_f32x4_splat(b)), 0);
}
INLINE float fused(float a, float b, float c) {
  return wasm_f32x4_extract_lane(wasm_f32x4_relaxed_madd(wasm_f32x4_splat(a), wasm_f32x4_splat(b), wasm_f32x4_splat(c)), 0);
}
INLINE v128_t mask_of(v128_t stored) { return wasm_i32x4_ne(stored, wasm_i32x4_const_splat(0)); }
INLINE v128_t ones_of(v128_t mask) { return wasm_u32x4_shr(mask, 31); }
INLINE v128_t ramp_from(int32_t first) { return wasm_i32x4_add(wasm_i32x4_splat(first), wasm_i32x4_const(0, 1, 2, 3)); }
INLINE v128_t vector_of_bf16(v128_t widened) { return wasm_i32x4_shl(widened, 16); }
// As widen_f16, four at a time.
INLINE v128_t vector_of_f16(v128_t widened) {
  const v128_t moved = wasm_f32x4_mul(wasm_i32x4_shl(wasm_v128_and(widened, wasm_i32x4_const_splat(0x7fff)), 13),
                                      wasm_f32x4_const_splat(0x1p112f));
  const v128_t exponent = wasm_i32x4_const_splat(0x7c00);
  const v128_t endless = wasm_v128_and(wasm_i32x4_eq(wasm_v128_and(widened, exponent), exponent),
                                       wasm_i32x4_const_splat(0x7f800000));
  const v128_t sign = wasm_i32x4_shl(wasm_v128_and(widened, wasm_i32x4_const_splat(0x8000)), 16);
  return wasm_v128_or(wasm_v128_or(moved, endless), sign);
}
INLINE v128_t partial_load_f32(const void* from, int64_t valid) {
  const float* floats = (const float*)from;
  if (valid >= 4) return wasm_v128_load(floats);
  if (valid <= 0) return wasm_i32x4_const_splat(0);
  if (valid == 1) return wasm_v128_load32_zero(floats);
  const v128_t pair = wasm_v128_load64_zero(floats);
  return valid == 2 ? pair : wasm_v128_load32_lane(floats + 2, pair, 2);
}
INLINE v128_t partial_load_i32(const int32_t* from, int64_t valid) { return partial_load_f32(from, valid); }
INLINE v128_t partial_load_u16(const uint16_t* from, int64_t valid) {
  if (valid >= 4) return wasm_u32x4_load16x4(from);
  return wasm_i32x4_make(valid > 0 ? from[0] : 0, valid > 1 ? from[1] : 0, valid > 2 ? from[2] : 0, 0);
}
INLINE void partial_store_f32(void* to, v128_t vector, int64_t valid) {
  float* floats = (float*)to;
  if (valid >= 4) return wasm_v128_store(floats, vector);
  if (valid == 1) wasm_v128_store32_lane(floats, vector, 0);
  if (valid >= 2) wasm_v128_store64_lane(floats, vector, 0);
  if (valid == 3) wasm_v128_store32_lane(floats + 2, vector, 2);
}
INLINE void partial_store_i32(int32_t* to, v128_t vector, int64_t valid) { partial_store_f32(to, vector, valid); }
INLINE v128_t pack_bool(bool a, bool b, bool c, bool d) { return mask_of(wasm_i32x4_make(a, b, c, d)); }
INLINE void transpose(v128_t& a, v128_t& b, v128_t& c, v128_t& d) {
  const v128_t low_ab = wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), high_ab = wasm_i32x4_shuffle(a, b, 2, 6, 3, 7);
  const v128_t low_cd = wasm_i32x4_shuffle(c, d, 0, 4, 1, 5), high_cd = wasm_i32x4_shuffle(c, d, 2, 6, 3, 7);
  a = wasm_i64x2_shuffle(low_ab, low_cd, 0, 2);
  b = wasm_i64x2_shuffle(low_ab, low_cd, 1, 3);
  c = wasm_i64x2_shuffle(high_ab, high_cd, 0, 2);
  d = wasm_i64x2_shuffle(high_ab, high_cd, 1, 3);
}
INLINE float tree_add(v128_t a, v128_t b, v128_t c, v128_t d) {
  const v128_t four = wasm_f32x4_add(wasm_f32x4_add(a, c), wasm_f32x4_add(b, d));
  const v128_t two = wasm_f32x4_add(four, wasm_i32x4_shuffle(four, four, 2, 3, 0, 1));
  return wasm_f32x4_extract_lane(two, 0) + wasm_f32x4_extract_lane(two, 1);
}
INLINE float tree_max(v128_t a, v128_t b, v128_t c, v128_t d) {
  const v128_t four = vector_max(vector_max(a, c), vector_max(b, d));
  const v128_t two = vector_max(four, wasm_i32x4_shuffle(four, four, 2, 3, 0, 1));
  return greatest(wasm_f32x4_extract_lane(two, 0), wasm_f32x4_extract_lane(two, 1));
}
`

export const wasmRelaxed: InstructionSet = {
  name: 'wasmRelaxed',
  lanes: 4,
  tiles: { rows: 4, vectors: 2 },
  header: '<wasm_simd128.h>',
  prelude,
  scalar: scalarSpelling({
    fma: 'fused($1, $2, $3)',
    toInt: '__builtin_wasm_trunc_saturate_s_i32_f32(__builtin_rintf($1))',
  }),
  vector: {
    types: { f32: 'v128_t', i32: 'v128_t', bool: 'v128_t' },
    words: {
      add: 'wasm_f32x4_add($1, $2)',
      sub: 'wasm_f32x4_sub($1, $2)',
      mul: 'wasm_f32x4_mul($1, $2)',
      div: 'wasm_f32x4_div($1, $2)',
      fma: 'wasm_f32x4_relaxed_madd($1, $2, $3)',
      neg: 'wasm_f32x4_neg($1)',
      abs: 'wasm_f32x4_abs($1)',
      sqrt: 'wasm_f32x4_sqrt($1)',
      min: 'vector_min($1, $2)',
      max: 'vector_max($1, $2)',
      less: 'wasm_f32x4_lt($1, $2)',
      lessEqual: 'wasm_f32x4_le($1, $2)',
      equal: 'wasm_f32x4_eq($1, $2)',
      intLess: 'wasm_i32x4_lt($1, $2)',
      intLessEqual: 'wasm_i32x4_le($1, $2)',
      intEqual: 'wasm_i32x4_eq($1, $2)',
      and: 'wasm_v128_and($1, $2)',
      or: 'wasm_v128_or($1, $2)',
      not: 'wasm_v128_not($1)',
      select: 'wasm_v128_bitselect($2, $3, $1)',
      intSelect: 'wasm_v128_bitselect($2, $3, $1)',
      intAdd: 'wasm_i32x4_add($1, $2)',
      intSub: 'wasm_i32x4_sub($1, $2)',
      intMul: 'wasm_i32x4_mul($1, $2)',
      intAnd: 'wasm_v128_and($1, $2)',
      intOr: 'wasm_v128_or($1, $2)',
      intXor: 'wasm_v128_xor($1, $2)',
      intShiftLeft: 'wasm_i32x4_shl($1, $bits)',
      intShiftRight: 'wasm_u32x4_shr($1, $bits)',
      intShiftSigned: 'wasm_i32x4_shr($1, $bits)',
      toInt: 'wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest($1))',
      toFloat: 'wasm_f32x4_convert_i32x4($1)',
      // One register type holds floats and integers alike.
      bitsOf: '($1)',
      fromBits: '($1)',
    },
    load: {
      f32: 'wasm_v128_load($1)',
      i32: 'wasm_v128_load($1)',
      bool: 'mask_of(wasm_v128_load($1))',
      f16: 'vector_of_f16(wasm_u32x4_load16x4($1))',
      bf16: 'vector_of_bf16(wasm_u32x4_load16x4($1))',
    },
    store: { f32: 'wasm_v128_store($1, $2)', i32: 'wasm_v128_store($1, $2)', bool: 'wasm_v128_store($1, ones_of($2))' },
    ...partialAccess,
    splat: { f32: 'wasm_f32x4_splat($1)', i32: 'wasm_i32x4_splat($1)', bool: 'wasm_i32x4_splat($1 ? -1 : 0)' },
    pack: { f32: 'wasm_f32x4_make($args)', i32: 'wasm_i32x4_make($args)', bool: 'pack_bool($args)' },
    ramp: 'ramp_from($1)',
    transpose: 'transpose($args)',
    tree: { add: 'tree_add($args)', max: 'tree_max($args)' },
  },
}
