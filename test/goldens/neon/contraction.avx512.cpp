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
    __m512 acc_0_0 = {};
    __m512 acc_0_1 = {};
    __m512 acc_1_0 = {};
    __m512 acc_1_1 = {};
    acc_0_0 = _mm512_set1_ps(0.0f);
    acc_0_1 = _mm512_set1_ps(0.0f);
    acc_1_0 = _mm512_set1_ps(0.0f);
    acc_1_1 = _mm512_set1_ps(0.0f);
    for (int64_t k = 0; k < 7; k++) {
      const __m512 b0 = _mm512_loadu_ps(&b[k * 32 + panel * 224]);
      const __m512 b1 = _mm512_loadu_ps(&b[k * 32 + panel * 224 + 16]);
      acc_0_0 = _mm512_fmadd_ps(_mm512_set1_ps(a[k * 2 + tile * 14]), b0, acc_0_0);
      acc_0_1 = _mm512_fmadd_ps(_mm512_set1_ps(a[k * 2 + tile * 14]), b1, acc_0_1);
      acc_1_0 = _mm512_fmadd_ps(_mm512_set1_ps(a[k * 2 + tile * 14 + 1]), b0, acc_1_0);
      acc_1_1 = _mm512_fmadd_ps(_mm512_set1_ps(a[k * 2 + tile * 14 + 1]), b1, acc_1_1);
    }
    if (tile * 2 < seq) {
      partial_store_f32(&y[panel * 32 + tile * 98], acc_0_0, 49 - panel * 32);
      partial_store_f32(&y[panel * 32 + tile * 98 + 16], acc_0_1, 33 - panel * 32);
    }
    if (tile * 2 + 1 < seq) {
      partial_store_f32(&y[panel * 32 + tile * 98 + 49], acc_1_0, 49 - panel * 32);
      partial_store_f32(&y[panel * 32 + tile * 98 + 65], acc_1_1, 33 - panel * 32);
    }
  }
}
