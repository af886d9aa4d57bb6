// arm64 NEON, 4 lanes: Armv8.0 with what every 64-bit phone has (f16 only converts). Only spelling lives here.

import { partialAccess, plainExtremes, scalarSpelling } from './scalar.ts'
import type { InstructionSet } from './table.ts'

const prelude = `${plainExtremes}INLINE uint32x4_t mask_of(int32x4_t stored) { return vtstq_s32(stored, stored); }
INLINE int32x4_t ones_of(uint32x4_t mask) { return vreinterpretq_s32_u32(vshrq_n_u32(mask, 31)); }
INLINE float32x4_t vector_of_f16(uint16x4_t stored) { return vcvt_f32_f16(vreinterpret_f16_u16(stored)); }
INLINE float32x4_t vector_of_bf16(uint16x4_t stored) { return vreinterpretq_f32_u32(vshll_n_u16(stored, 16)); }
INLINE float32x4_t partial_load_f32(const float* from, int64_t valid) {
  if (valid >= 4) return vld1q_f32(from);
  float32x4_t vector = vdupq_n_f32(0.0f);
  if (valid > 0) vector = vld1q_lane_f32(from, vector, 0);
  if (valid > 1) vector = vld1q_lane_f32(from + 1, vector, 1);
  if (valid > 2) vector = vld1q_lane_f32(from + 2, vector, 2);
  return vector;
}
INLINE int32x4_t partial_load_i32(const int32_t* from, int64_t valid) {
  if (valid >= 4) return vld1q_s32(from);
  int32x4_t vector = vdupq_n_s32(0);
  if (valid > 0) vector = vld1q_lane_s32(from, vector, 0);
  if (valid > 1) vector = vld1q_lane_s32(from + 1, vector, 1);
  if (valid > 2) vector = vld1q_lane_s32(from + 2, vector, 2);
  return vector;
}
INLINE uint16x4_t partial_load_u16(const uint16_t* from, int64_t valid) {
  if (valid >= 4) return vld1_u16(from);
  uint16x4_t vector = vdup_n_u16(0);
  if (valid > 0) vector = vld1_lane_u16(from, vector, 0);
  if (valid > 1) vector = vld1_lane_u16(from + 1, vector, 1);
  if (valid > 2) vector = vld1_lane_u16(from + 2, vector, 2);
  return vector;
}
INLINE void partial_store_f32(float* to, float32x4_t vector, int64_t valid) {
  if (valid >= 4) return vst1q_f32(to, vector);
  if (valid > 0) vst1q_lane_f32(to, vector, 0);
  if (valid > 1) vst1q_lane_f32(to + 1, vector, 1);
  if (valid > 2) vst1q_lane_f32(to + 2, vector, 2);
}
INLINE void partial_store_i32(int32_t* to, int32x4_t vector, int64_t valid) {
  if (valid >= 4) return vst1q_s32(to, vector);
  if (valid > 0) vst1q_lane_s32(to, vector, 0);
  if (valid > 1) vst1q_lane_s32(to + 1, vector, 1);
  if (valid > 2) vst1q_lane_s32(to + 2, vector, 2);
}
INLINE float32x4_t pack_f32(float a, float b, float c, float d) { const float lanes[4] = {a, b, c, d}; return vld1q_f32(lanes); }
INLINE int32x4_t pack_i32(int32_t a, int32_t b, int32_t c, int32_t d) { const int32_t lanes[4] = {a, b, c, d}; return vld1q_s32(lanes); }
INLINE uint32x4_t pack_bool(bool a, bool b, bool c, bool d) { return mask_of(pack_i32(a, b, c, d)); }
INLINE int32x4_t ramp_from(int32_t first) { return vaddq_s32(vdupq_n_s32(first), pack_i32(0, 1, 2, 3)); }
INLINE float32x4_t vector_min(float32x4_t a, float32x4_t b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
INLINE float32x4_t vector_max(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
INLINE void transpose(float32x4_t& a, float32x4_t& b, float32x4_t& c, float32x4_t& d) {
  const float64x2_t even_ab = vreinterpretq_f64_f32(vtrn1q_f32(a, b)), odd_ab = vreinterpretq_f64_f32(vtrn2q_f32(a, b));
  const float64x2_t even_cd = vreinterpretq_f64_f32(vtrn1q_f32(c, d)), odd_cd = vreinterpretq_f64_f32(vtrn2q_f32(c, d));
  a = vreinterpretq_f32_f64(vtrn1q_f64(even_ab, even_cd));
  b = vreinterpretq_f32_f64(vtrn1q_f64(odd_ab, odd_cd));
  c = vreinterpretq_f32_f64(vtrn2q_f64(even_ab, even_cd));
  d = vreinterpretq_f32_f64(vtrn2q_f64(odd_ab, odd_cd));
}
INLINE float tree_add(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d) {
  const float32x4_t four = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
INLINE float tree_max(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d) {
  const float32x4_t four = vector_max(vector_max(a, c), vector_max(b, d));
  return greatest(greatest(vgetq_lane_f32(four, 0), vgetq_lane_f32(four, 2)),
                  greatest(vgetq_lane_f32(four, 1), vgetq_lane_f32(four, 3)));
}
`

export const neon: InstructionSet = {
  name: 'neon',
  lanes: 4,
  // Of 32 registers one is left for a value on its way.
  tiles: { rows: 8, vectors: 3, laneRegisters: 31 },
  header: '<arm_neon.h>',
  prelude,
  scalar: scalarSpelling({ fma: '__builtin_fmaf($1, $2, $3)', toInt: 'vcvtns_s32_f32($1)' }),
  vector: {
    types: { f32: 'float32x4_t', i32: 'int32x4_t', bool: 'uint32x4_t' },
    words: {
      add: 'vaddq_f32($1, $2)',
      sub: 'vsubq_f32($1, $2)',
      mul: 'vmulq_f32($1, $2)',
      div: 'vdivq_f32($1, $2)',
      fma: 'vfmaq_f32($3, $1, $2)',
      neg: 'vnegq_f32($1)',
      abs: 'vabsq_f32($1)',
      sqrt: 'vsqrtq_f32($1)',
      min: 'vector_min($1, $2)',
      max: 'vector_max($1, $2)',
      less: 'vcltq_f32($1, $2)',
      lessEqual: 'vcleq_f32($1, $2)',
      equal: 'vceqq_f32($1, $2)',
      intLess: 'vcltq_s32($1, $2)',
      intLessEqual: 'vcleq_s32($1, $2)',
      intEqual: 'vceqq_s32($1, $2)',
      and: 'vandq_u32($1, $2)',
      or: 'vorrq_u32($1, $2)',
      not: 'vmvnq_u32($1)',
      select: 'vbslq_f32($1, $2, $3)',
      intSelect: 'vbslq_s32($1, $2, $3)',
      intAdd: 'vaddq_s32($1, $2)',
      intSub: 'vsubq_s32($1, $2)',
      intMul: 'vmulq_s32($1, $2)',
      intAnd: 'vandq_s32($1, $2)',
      intOr: 'vorrq_s32($1, $2)',
      intXor: 'veorq_s32($1, $2)',
      // The immediate forms of the right shifts have no 0; these take one, and compilers make immediates of them.
      intShiftLeft: 'vshlq_s32($1, vdupq_n_s32($bits))',
      intShiftRight: 'vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32($1), vdupq_n_s32(-$bits)))',
      intShiftSigned: 'vshlq_s32($1, vdupq_n_s32(-$bits))',
      toInt: 'vcvtnq_s32_f32($1)',
      toFloat: 'vcvtq_f32_s32($1)',
      bitsOf: 'vreinterpretq_s32_f32($1)',
      fromBits: 'vreinterpretq_f32_s32($1)',
    },
    load: {
      f32: 'vld1q_f32($1)',
      i32: 'vld1q_s32($1)',
      bool: 'mask_of(vld1q_s32($1))',
      f16: 'vector_of_f16(vld1_u16($1))',
      bf16: 'vector_of_bf16(vld1_u16($1))',
    },
    store: { f32: 'vst1q_f32($1, $2)', i32: 'vst1q_s32($1, $2)', bool: 'vst1q_s32($1, ones_of($2))' },
    ...partialAccess,
    splat: { f32: 'vdupq_n_f32($1)', i32: 'vdupq_n_s32($1)', bool: 'vdupq_n_u32($1 ? ~0u : 0u)' },
    pack: { f32: 'pack_f32($args)', i32: 'pack_i32($args)', bool: 'pack_bool($args)' },
    ramp: 'ramp_from($1)',
    transpose: 'transpose($args)',
    byLane: { lane: 'vgetq_lane_f32($1, $bits)', words: { fma: 'vfmaq_laneq_f32($3, $1, $2, $bits)' } },
    tree: { add: 'tree_add($args)', max: 'tree_max($args)' },
  },
}
