static int64_t kernel_contraction_grid(const int32_t* sizes) {
  const int64_t seq = sizes[0];
  return (int64_t)(2) * ((seq + 1) / 2);
}

static void kernel_contraction(const int32_t* sizes, void* const* arguments, unsigned char* scratch, int64_t begin, int64_t end) {
  const int64_t seq = sizes[0];
  (void)scratch;
  const float* __restrict a = (const float*)arguments[0];
  const float* __restrict b = (const float*)arguments[1];
  float* __restrict y = (float*)arguments[2];
  const int64_t tile_extent = (seq + 1) / 2;
  for (int64_t point = begin; point < end; point++) {
    const int64_t panel = point / tile_extent;
    const int64_t tile = point % tile_extent;
    __m256 acc_0_0 = {};
    __m256 acc_0_1 = {};
    __m256 acc_1_0 = {};
    __m256 acc_1_1 = {};
    acc_0_0 = _mm256_set1_ps(0.0f);
    acc_0_1 = _mm256_set1_ps(0.0f);
    acc_1_0 = _mm256_set1_ps(0.0f);
    acc_1_1 = _mm256_set1_ps(0.0f);
    for (int64_t k = 0; k < 7; k++) {
      const __m256 b0 = _mm256_loadu_ps(&b[k * 16 + panel * 112]);
      const __m256 b1 = _mm256_loadu_ps(&b[k * 16 + panel * 112 + 8]);
      acc_0_0 = _mm256_fmadd_ps(_mm256_set1_ps(a[k * 2 + tile * 14]), b0, acc_0_0);
      acc_0_1 = _mm256_fmadd_ps(_mm256_set1_ps(a[k * 2 + tile * 14]), b1, acc_0_1);
      acc_1_0 = _mm256_fmadd_ps(_mm256_set1_ps(a[k * 2 + tile * 14 + 1]), b0, acc_1_0);
      acc_1_1 = _mm256_fmadd_ps(_mm256_set1_ps(a[k * 2 + tile * 14 + 1]), b1, acc_1_1);
    }
    if (tile * 2 < seq) {
      partial_store_f32(&y[panel * 16 + tile * 50], acc_0_0, 25 - panel * 16);
      partial_store_f32(&y[panel * 16 + tile * 50 + 8], acc_0_1, 17 - panel * 16);
    }
    if (tile * 2 + 1 < seq) {
      partial_store_f32(&y[panel * 16 + tile * 50 + 25], acc_1_0, 25 - panel * 16);
      partial_store_f32(&y[panel * 16 + tile * 50 + 33], acc_1_1, 17 - panel * 16);
    }
  }
}
