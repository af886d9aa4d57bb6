// The host's processor with vectors of 128 bits, which a module in WebAssembly is held against: the table of AVX2, narrowed.
// For x86-64 with AVX2; knows no program.

import { avx2 } from '../backends/neon/isa/avx2.ts'
import { plainExtremes } from '../backends/neon/isa/scalar.ts'
import type { InstructionSet } from '../backends/neon/isa/index.ts'
import { CompileCache } from '../backends/neon/toolchain/index.ts'
import type { ToolChain } from '../backends/neon/toolchain/index.ts'
import { findCompiler, nativeToolChain } from '../backends/neon/toolchain/native.ts'

const prelude = `${plainExtremes}INLINE __m128i mask_not(__m128i mask) { return _mm_xor_si128(mask, _mm_set1_epi32(-1)); }
INLINE __m128i mask_of(__m128i stored) { return mask_not(_mm_cmpeq_epi32(stored, _mm_setzero_si128())); }
INLINE __m128i ones_of(__m128i mask) { return _mm_srli_epi32(mask, 31); }
INLINE __m128i ramp_from(int32_t first) { return _mm_add_epi32(_mm_set1_epi32(first), _mm_setr_epi32(0, 1, 2, 3)); }
INLINE int32_t lane_count(int64_t valid) { return valid < 0 ? 0 : valid > 4 ? 4 : (int32_t)valid; }
INLINE __m128i lanes_below(int64_t valid) { return _mm_cmpgt_epi32(_mm_set1_epi32(lane_count(valid)), ramp_from(0)); }
INLINE __m128i load_u16(const uint16_t* from) { return _mm_loadl_epi64((const __m128i*)from); }
INLINE __m128 vector_of_f16(__m128i stored) { return _mm_cvtph_ps(stored); }
INLINE __m128 vector_of_bf16(__m128i stored) { return _mm_castsi128_ps(_mm_slli_epi32(_mm_cvtepu16_epi32(stored), 16)); }
INLINE __m128i load_i32(const int32_t* from) { return _mm_loadu_si128((const __m128i*)from); }
INLINE void store_i32(int32_t* to, __m128i vector) { _mm_storeu_si128((__m128i*)to, vector); }
INLINE __m128 partial_load_f32(const float* from, int64_t valid) { return _mm_maskload_ps(from, lanes_below(valid)); }
INLINE __m128i partial_load_i32(const int32_t* from, int64_t valid) { return _mm_maskload_epi32(from, lanes_below(valid)); }
INLINE __m128i partial_load_u16(const uint16_t* from, int64_t valid) {
  uint16_t lanes[4] = {0, 0, 0, 0};
  for (int32_t lane = 0; lane < lane_count(valid); lane++) lanes[lane] = from[lane];
  return load_u16(lanes);
}
INLINE void partial_store_f32(float* to, __m128 vector, int64_t valid) { _mm_maskstore_ps(to, lanes_below(valid), vector); }
INLINE void partial_store_i32(int32_t* to, __m128i vector, int64_t valid) { _mm_maskstore_epi32(to, lanes_below(valid), vector); }
INLINE __m128i pack_bool(bool a, bool b, bool c, bool d) { return mask_of(_mm_setr_epi32(a, b, c, d)); }
INLINE void transpose(__m128& a, __m128& b, __m128& c, __m128& d) { _MM_TRANSPOSE4_PS(a, b, c, d); }
INLINE float tree_add(__m128 a, __m128 b, __m128 c, __m128 d) {
  const __m128 four = _mm_add_ps(_mm_add_ps(a, c), _mm_add_ps(b, d));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
INLINE float tree_max(__m128 a, __m128 b, __m128 c, __m128 d) {
  const __m128 four = _mm_max_ps(_mm_max_ps(a, c), _mm_max_ps(b, d));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}
`

/** Every intrinsic of 256 bits by its name for 128. */
function narrowed<T>(table: T): T {
  const text = JSON.stringify(table)
    .replaceAll('_mm256_', '_mm_')
    .replaceAll('si256', 'si128')
    .replaceAll('__m256', '__m128')
  return JSON.parse(text) as T
}

const table: InstructionSet = { ...avx2, lanes: 4, prelude, vector: narrowed(avx2.vector) }

/** Throws where there is no compiler for it. */
export async function native128(): Promise<ToolChain> {
  const compiler = await findCompiler(['g++', 'clang++-22'])
  if (!compiler) throw new Error('vectors of 128 bits are compiled by g++ or clang++-22, and there is neither')
  const reason = '128 bits at a time'
  const chain = nativeToolChain(new CompileCache(), {
    name: 'host',
    isa: 'avx2',
    compiler,
    flags: [],
    launcher: [],
    reason,
  })
  return { ...chain, isa: table, describe: () => `${compiler.version}, 4 lanes (${reason})` }
}
