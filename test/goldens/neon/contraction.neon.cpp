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
    float32x4_t acc_0_0 = {};
    float32x4_t acc_0_1 = {};
    float32x4_t acc_1_0 = {};
    float32x4_t acc_1_1 = {};
    acc_0_0 = vdupq_n_f32(0.0f);
    acc_0_1 = vdupq_n_f32(0.0f);
    acc_1_0 = vdupq_n_f32(0.0f);
    acc_1_1 = vdupq_n_f32(0.0f);
    for (int64_t k = 0; k < 7; k++) {
      const float32x4_t b0 = vld1q_f32(&b[k * 8 + panel * 56]);
      const float32x4_t b1 = vld1q_f32(&b[k * 8 + panel * 56 + 4]);
      acc_0_0 = vfmaq_f32(acc_0_0, vdupq_n_f32(a[k * 2 + tile * 14]), b0);
      acc_0_1 = vfmaq_f32(acc_0_1, vdupq_n_f32(a[k * 2 + tile * 14]), b1);
      acc_1_0 = vfmaq_f32(acc_1_0, vdupq_n_f32(a[k * 2 + tile * 14 + 1]), b0);
      acc_1_1 = vfmaq_f32(acc_1_1, vdupq_n_f32(a[k * 2 + tile * 14 + 1]), b1);
    }
    if (tile * 2 < seq) {
      partial_store_f32(&y[panel * 8 + tile * 26], acc_0_0, 13 - panel * 8);
      partial_store_f32(&y[panel * 8 + tile * 26 + 4], acc_0_1, 9 - panel * 8);
    }
    if (tile * 2 + 1 < seq) {
      partial_store_f32(&y[panel * 8 + tile * 26 + 13], acc_1_0, 13 - panel * 8);
      partial_store_f32(&y[panel * 8 + tile * 26 + 17], acc_1_1, 9 - panel * 8);
    }
  }
}
