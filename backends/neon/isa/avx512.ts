// x86-64 with AVX-512 F, VL, DQ and BW, 16 lanes. Conditions are 16-bit mask registers. Only spelling lives here.

import { partialAccess, plainExtremes, scalarSpelling } from './scalar.ts'
import type { InstructionSet } from './table.ts'

const prelude = `${plainExtremes}INLINE __mmask16 mask_of(__m512i stored) { return _mm512_test_epi32_mask(stored, stored); }
INLINE __m512i ones_of(__mmask16 mask) { return _mm512_maskz_set1_epi32(mask, 1); }
INLINE __m512i ramp_from(int32_t first) {
  return _mm512_add_epi32(_mm512_set1_epi32(first),
                          _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}
INLINE __mmask16 lanes_below(int64_t valid) {
  return (__mmask16)((1u << (valid < 0 ? 0 : valid > 16 ? 16 : valid)) - 1u);
}
INLINE __m256i load_u16(const uint16_t* from) { return _mm256_loadu_si256((const __m256i*)from); }
INLINE __m512 vector_of_f16(__m256i stored) { return _mm512_cvtph_ps(stored); }
INLINE __m512 vector_of_bf16(__m256i stored) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(stored), 16));
}
INLINE __m512 partial_load_f32(const float* from, int64_t valid) { return _mm512_maskz_loadu_ps(lanes_below(valid), from); }
INLINE __m512i partial_load_i32(const int32_t* from, int64_t valid) {
  return _mm512_maskz_loadu_epi32(lanes_below(valid), from);
}
INLINE __m256i partial_load_u16(const uint16_t* from, int64_t valid) {
  return _mm256_maskz_loadu_epi16(lanes_below(valid), from);
}
INLINE void partial_store_f32(float* to, __m512 vector, int64_t valid) {
  _mm512_mask_storeu_ps(to, lanes_below(valid), vector);
}
INLINE void partial_store_i32(int32_t* to, __m512i vector, int64_t valid) {
  _mm512_mask_storeu_epi32(to, lanes_below(valid), vector);
}
INLINE __mmask16 pack_bool(bool a, bool b, bool c, bool d, bool e, bool f, bool g, bool h, bool i, bool j, bool k, bool l,
                           bool m, bool n, bool o, bool p) {
  return mask_of(_mm512_setr_epi32(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p));
}
INLINE __m256 upper_half(__m512 vector) { return _mm512_extractf32x8_ps(vector, 1); }
INLINE void transpose_quads(__m512& a, __m512& b, __m512& c, __m512& d) {
  const __m512d p = _mm512_castps_pd(_mm512_unpacklo_ps(a, b)), q = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
  const __m512d r = _mm512_castps_pd(_mm512_unpacklo_ps(c, d)), s = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
  a = _mm512_castpd_ps(_mm512_unpacklo_pd(p, r)), b = _mm512_castpd_ps(_mm512_unpackhi_pd(p, r));
  c = _mm512_castpd_ps(_mm512_unpacklo_pd(q, s)), d = _mm512_castpd_ps(_mm512_unpackhi_pd(q, s));
}
INLINE void transpose_quarters(__m512& a, __m512& b, __m512& c, __m512& d) {
  const __m512 p = _mm512_shuffle_f32x4(a, b, 0x88), q = _mm512_shuffle_f32x4(a, b, 0xdd);
  const __m512 r = _mm512_shuffle_f32x4(c, d, 0x88), s = _mm512_shuffle_f32x4(c, d, 0xdd);
  a = _mm512_shuffle_f32x4(p, r, 0x88), b = _mm512_shuffle_f32x4(q, s, 0x88);
  c = _mm512_shuffle_f32x4(p, r, 0xdd), d = _mm512_shuffle_f32x4(q, s, 0xdd);
}
INLINE void transpose(__m512& a, __m512& b, __m512& c, __m512& d, __m512& e, __m512& f, __m512& g, __m512& h, __m512& i,
                      __m512& j, __m512& k, __m512& l, __m512& m, __m512& n, __m512& o, __m512& p) {
  transpose_quads(a, b, c, d), transpose_quads(e, f, g, h), transpose_quads(i, j, k, l), transpose_quads(m, n, o, p);
  transpose_quarters(a, e, i, m), transpose_quarters(b, f, j, n);
  transpose_quarters(c, g, k, o), transpose_quarters(d, h, l, p);
}
INLINE float tree_add(__m512 sixteen) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sixteen), upper_half(sixteen));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
INLINE float tree_max(__m512 sixteen) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(sixteen), upper_half(sixteen));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}
`

export const avx512: InstructionSet = {
  name: 'avx512',
  lanes: 16,
  tiles: { rows: 6, vectors: 4 },
  otherTiles: [
    { rows: 8, vectors: 3 },
    { rows: 12, vectors: 2 },
  ],
  fetchesAhead: true,
  header: '<immintrin.h>',
  prelude,
  scalar: scalarSpelling({ fma: '__builtin_fmaf($1, $2, $3)', toInt: '_mm_cvtss_si32(_mm_set_ss($1))' }),
  vector: {
    types: { f32: '__m512', i32: '__m512i', bool: '__mmask16' },
    words: {
      add: '_mm512_add_ps($1, $2)',
      sub: '_mm512_sub_ps($1, $2)',
      mul: '_mm512_mul_ps($1, $2)',
      div: '_mm512_div_ps($1, $2)',
      fma: '_mm512_fmadd_ps($1, $2, $3)',
      neg: '_mm512_xor_ps($1, _mm512_set1_ps(-0.0f))',
      abs: '_mm512_abs_ps($1)',
      sqrt: '_mm512_sqrt_ps($1)',
      min: '_mm512_min_ps($1, $2)',
      max: '_mm512_max_ps($1, $2)',
      less: '_mm512_cmp_ps_mask($1, $2, _CMP_LT_OQ)',
      lessEqual: '_mm512_cmp_ps_mask($1, $2, _CMP_LE_OQ)',
      equal: '_mm512_cmp_ps_mask($1, $2, _CMP_EQ_OQ)',
      intLess: '_mm512_cmplt_epi32_mask($1, $2)',
      intLessEqual: '_mm512_cmple_epi32_mask($1, $2)',
      intEqual: '_mm512_cmpeq_epi32_mask($1, $2)',
      and: '(__mmask16)($1 & $2)',
      or: '(__mmask16)($1 | $2)',
      not: '(__mmask16)~$1',
      select: '_mm512_mask_blend_ps($1, $3, $2)',
      intSelect: '_mm512_mask_blend_epi32($1, $3, $2)',
      intAdd: '_mm512_add_epi32($1, $2)',
      intSub: '_mm512_sub_epi32($1, $2)',
      intMul: '_mm512_mullo_epi32($1, $2)',
      intAnd: '_mm512_and_si512($1, $2)',
      intOr: '_mm512_or_si512($1, $2)',
      intXor: '_mm512_xor_si512($1, $2)',
      intShiftLeft: '_mm512_slli_epi32($1, $bits)',
      intShiftRight: '_mm512_srli_epi32($1, $bits)',
      intShiftSigned: '_mm512_srai_epi32($1, $bits)',
      toInt: '_mm512_cvtps_epi32($1)',
      toFloat: '_mm512_cvtepi32_ps($1)',
      bitsOf: '_mm512_castps_si512($1)',
      fromBits: '_mm512_castsi512_ps($1)',
    },
    load: {
      f32: '_mm512_loadu_ps($1)',
      i32: '_mm512_loadu_si512($1)',
      bool: 'mask_of(_mm512_loadu_si512($1))',
      f16: 'vector_of_f16(load_u16($1))',
      bf16: 'vector_of_bf16(load_u16($1))',
    },
    store: {
      f32: '_mm512_storeu_ps($1, $2)',
      i32: '_mm512_storeu_si512($1, $2)',
      bool: '_mm512_storeu_si512($1, ones_of($2))',
    },
    ...partialAccess,
    splat: { f32: '_mm512_set1_ps($1)', i32: '_mm512_set1_epi32($1)', bool: '(__mmask16)($1 ? 0xffff : 0)' },
    pack: { f32: '_mm512_setr_ps($args)', i32: '_mm512_setr_epi32($args)', bool: 'pack_bool($args)' },
    ramp: 'ramp_from($1)',
    transpose: 'transpose($args)',
    tree: { add: 'tree_add($args)', max: 'tree_max($args)' },
  },
}
