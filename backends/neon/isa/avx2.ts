// x86-64 with AVX2, FMA and F16C, 8 lanes. Conditions are integer vectors of all ones or zeros. Only spelling lives here.

import { partialAccess, plainExtremes, scalarSpelling } from './scalar.ts'
import type { InstructionSet } from './table.ts'

const prelude = `${plainExtremes}INLINE __m256i mask_not(__m256i mask) { return _mm256_xor_si256(mask, _mm256_set1_epi32(-1)); }
INLINE __m256i mask_of(__m256i stored) { return mask_not(_mm256_cmpeq_epi32(stored, _mm256_setzero_si256())); }
INLINE __m256i ones_of(__m256i mask) { return _mm256_srli_epi32(mask, 31); }
INLINE __m256i ramp_from(int32_t first) {
  return _mm256_add_epi32(_mm256_set1_epi32(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE int32_t lane_count(int64_t valid) { return valid < 0 ? 0 : valid > 8 ? 8 : (int32_t)valid; }
INLINE __m256i lanes_below(int64_t valid) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(lane_count(valid)), ramp_from(0)); }
INLINE __m128i load_u16(const uint16_t* from) { return _mm_loadu_si128((const __m128i*)from); }
INLINE __m256 vector_of_f16(__m128i stored) { return _mm256_cvtph_ps(stored); }
INLINE __m256 vector_of_bf16(__m128i stored) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(stored), 16));
}
INLINE __m256i load_i32(const int32_t* from) { return _mm256_loadu_si256((const __m256i*)from); }
INLINE void store_i32(int32_t* to, __m256i vector) { _mm256_storeu_si256((__m256i*)to, vector); }
INLINE __m256 partial_load_f32(const float* from, int64_t valid) { return _mm256_maskload_ps(from, lanes_below(valid)); }
INLINE __m256i partial_load_i32(const int32_t* from, int64_t valid) { return _mm256_maskload_epi32(from, lanes_below(valid)); }
INLINE __m128i partial_load_u16(const uint16_t* from, int64_t valid) {
  uint16_t lanes[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  for (int32_t lane = 0; lane < lane_count(valid); lane++) lanes[lane] = from[lane];
  return load_u16(lanes);
}
INLINE void partial_store_f32(float* to, __m256 vector, int64_t valid) { _mm256_maskstore_ps(to, lanes_below(valid), vector); }
INLINE void partial_store_i32(int32_t* to, __m256i vector, int64_t valid) {
  _mm256_maskstore_epi32(to, lanes_below(valid), vector);
}
INLINE __m256i pack_bool(bool a, bool b, bool c, bool d, bool e, bool f, bool g, bool h) {
  return mask_of(_mm256_setr_epi32(a, b, c, d, e, f, g, h));
}
INLINE void interleave(__m256& a, __m256& b) {
  const __m256 low = _mm256_unpacklo_ps(a, b);
  b = _mm256_unpackhi_ps(a, b);
  a = low;
}
INLINE void transpose(__m256& a, __m256& b, __m256& c, __m256& d, __m256& e, __m256& f, __m256& g, __m256& h) {
  interleave(a, b), interleave(c, d), interleave(e, f), interleave(g, h);
  const __m256 p = _mm256_shuffle_ps(a, c, 0x44), q = _mm256_shuffle_ps(a, c, 0xee);
  const __m256 r = _mm256_shuffle_ps(b, d, 0x44), s = _mm256_shuffle_ps(b, d, 0xee);
  const __m256 t = _mm256_shuffle_ps(e, g, 0x44), u = _mm256_shuffle_ps(e, g, 0xee);
  const __m256 v = _mm256_shuffle_ps(f, h, 0x44), w = _mm256_shuffle_ps(f, h, 0xee);
  a = _mm256_permute2f128_ps(p, t, 0x20), b = _mm256_permute2f128_ps(q, u, 0x20);
  c = _mm256_permute2f128_ps(r, v, 0x20), d = _mm256_permute2f128_ps(s, w, 0x20);
  e = _mm256_permute2f128_ps(p, t, 0x31), f = _mm256_permute2f128_ps(q, u, 0x31);
  g = _mm256_permute2f128_ps(r, v, 0x31), h = _mm256_permute2f128_ps(s, w, 0x31);
}
INLINE float tree_add(__m256 a, __m256 b) {
  const __m256 eight = _mm256_add_ps(a, b);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
INLINE float tree_max(__m256 a, __m256 b) {
  const __m256 eight = _mm256_max_ps(a, b);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}
`

const comparison = (predicate: string): string => `_mm256_castps_si256(_mm256_cmp_ps($1, $2, ${predicate}))`

export const avx2: InstructionSet = {
  name: 'avx2',
  lanes: 8,
  tiles: { rows: 6, vectors: 2 },
  fetchesAhead: true,
  header: '<immintrin.h>',
  prelude,
  scalar: scalarSpelling({ fma: '__builtin_fmaf($1, $2, $3)', toInt: '_mm_cvtss_si32(_mm_set_ss($1))' }),
  vector: {
    types: { f32: '__m256', i32: '__m256i', bool: '__m256i' },
    words: {
      add: '_mm256_add_ps($1, $2)',
      sub: '_mm256_sub_ps($1, $2)',
      mul: '_mm256_mul_ps($1, $2)',
      div: '_mm256_div_ps($1, $2)',
      fma: '_mm256_fmadd_ps($1, $2, $3)',
      neg: '_mm256_xor_ps($1, _mm256_set1_ps(-0.0f))',
      abs: '_mm256_andnot_ps(_mm256_set1_ps(-0.0f), $1)',
      sqrt: '_mm256_sqrt_ps($1)',
      min: '_mm256_min_ps($1, $2)',
      max: '_mm256_max_ps($1, $2)',
      less: comparison('_CMP_LT_OQ'),
      lessEqual: comparison('_CMP_LE_OQ'),
      equal: comparison('_CMP_EQ_OQ'),
      intLess: '_mm256_cmpgt_epi32($2, $1)',
      intLessEqual: 'mask_not(_mm256_cmpgt_epi32($1, $2))',
      intEqual: '_mm256_cmpeq_epi32($1, $2)',
      and: '_mm256_and_si256($1, $2)',
      or: '_mm256_or_si256($1, $2)',
      not: 'mask_not($1)',
      select: '_mm256_blendv_ps($3, $2, _mm256_castsi256_ps($1))',
      intSelect: '_mm256_blendv_epi8($3, $2, $1)',
      intAdd: '_mm256_add_epi32($1, $2)',
      intSub: '_mm256_sub_epi32($1, $2)',
      intMul: '_mm256_mullo_epi32($1, $2)',
      intAnd: '_mm256_and_si256($1, $2)',
      intOr: '_mm256_or_si256($1, $2)',
      intXor: '_mm256_xor_si256($1, $2)',
      intShiftLeft: '_mm256_slli_epi32($1, $bits)',
      intShiftRight: '_mm256_srli_epi32($1, $bits)',
      intShiftSigned: '_mm256_srai_epi32($1, $bits)',
      toInt: '_mm256_cvtps_epi32($1)',
      toFloat: '_mm256_cvtepi32_ps($1)',
      bitsOf: '_mm256_castps_si256($1)',
      fromBits: '_mm256_castsi256_ps($1)',
    },
    load: {
      f32: '_mm256_loadu_ps($1)',
      i32: 'load_i32($1)',
      bool: 'mask_of(load_i32($1))',
      f16: 'vector_of_f16(load_u16($1))',
      bf16: 'vector_of_bf16(load_u16($1))',
    },
    store: { f32: '_mm256_storeu_ps($1, $2)', i32: 'store_i32($1, $2)', bool: 'store_i32($1, ones_of($2))' },
    ...partialAccess,
    splat: { f32: '_mm256_set1_ps($1)', i32: '_mm256_set1_epi32($1)', bool: '_mm256_set1_epi32($1 ? -1 : 0)' },
    pack: { f32: '_mm256_setr_ps($args)', i32: '_mm256_setr_epi32($args)', bool: 'pack_bool($args)' },
    ramp: 'ramp_from($1)',
    transpose: 'transpose($args)',
    tree: { add: 'tree_add($args)', max: 'tree_max($args)' },
  },
}
