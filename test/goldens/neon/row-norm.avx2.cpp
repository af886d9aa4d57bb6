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
    __m256 partial_0 = {};
    __m256 partial_1 = {};
    for (int64_t c = 0; c < 8; c++) {
      const __m256 x_2 = vector_of_bf16(partial_load_u16(&x[c * 8 + r * 64], width - c * 8));
      _mm256_storeu_ps(&row[c * 8], _mm256_mul_ps(x_2, _mm256_set1_ps(0.5f)));
    }
    partial_0 = _mm256_set1_ps(0.0f);
    partial_1 = _mm256_set1_ps(0.0f);
    for (int64_t block = 0; block < 4; block++) {
      const __m256 v0 = _mm256_loadu_ps(&row[block * 16]);
      partial_0 = _mm256_fmadd_ps(v0, v0, partial_0);
      const __m256 v1 = _mm256_loadu_ps(&row[block * 16 + 8]);
      partial_1 = _mm256_fmadd_ps(v1, v1, partial_1);
    }
    const float sum = tree_add(partial_0, partial_1);
    if (r < 8) {
      y[r] = __builtin_sqrtf(sum);
    }
  }
}
