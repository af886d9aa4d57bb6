static int64_t kernel_row_norm_grid(const int32_t* sizes) {
  (void)sizes;
  return (int64_t)(9);
}

static void kernel_row_norm(const int32_t* sizes, void* const* arguments, unsigned char* scratch, int64_t begin, int64_t end) {
  const int64_t width = sizes[0];
  const uint16_t* __restrict x = (const uint16_t*)arguments[0];
  float* __restrict y = (float*)arguments[1];
  float* __restrict row = (float*)(scratch + 0);
  for (int64_t r = begin; r < end; r++) {
    v128_t partial_0 = {};
    v128_t partial_1 = {};
    v128_t partial_2 = {};
    v128_t partial_3 = {};
    for (int64_t c = 0; c < 16; c++) {
      const v128_t x_2 = vector_of_bf16(partial_load_u16(&x[c * 4 + r * 64], width - c * 4));
      wasm_v128_store(&row[c * 4], wasm_f32x4_mul(x_2, wasm_f32x4_splat(0.5f)));
    }
    partial_0 = wasm_f32x4_splat(0.0f);
    partial_1 = wasm_f32x4_splat(0.0f);
    partial_2 = wasm_f32x4_splat(0.0f);
    partial_3 = wasm_f32x4_splat(0.0f);
    for (int64_t block = 0; block < 4; block++) {
      const v128_t v0 = wasm_v128_load(&row[block * 16]);
      partial_0 = wasm_f32x4_relaxed_madd(v0, v0, partial_0);
      const v128_t v1 = wasm_v128_load(&row[block * 16 + 4]);
      partial_1 = wasm_f32x4_relaxed_madd(v1, v1, partial_1);
      const v128_t v2 = wasm_v128_load(&row[block * 16 + 8]);
      partial_2 = wasm_f32x4_relaxed_madd(v2, v2, partial_2);
      const v128_t v3 = wasm_v128_load(&row[block * 16 + 12]);
      partial_3 = wasm_f32x4_relaxed_madd(v3, v3, partial_3);
    }
    const float sum = tree_add(partial_0, partial_1, partial_2, partial_3);
    if (r < 8) {
      y[r] = __builtin_sqrtf(sum);
    }
  }
}
