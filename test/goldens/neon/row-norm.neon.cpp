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
    float32x4_t partial_0 = {};
    float32x4_t partial_1 = {};
    float32x4_t partial_2 = {};
    float32x4_t partial_3 = {};
    for (int64_t c = 0; c < 16; c++) {
      const float32x4_t x_2 = vector_of_bf16(partial_load_u16(&x[c * 4 + r * 64], width - c * 4));
      vst1q_f32(&row[c * 4], vmulq_f32(x_2, vdupq_n_f32(0.5f)));
    }
    partial_0 = vdupq_n_f32(0.0f);
    partial_1 = vdupq_n_f32(0.0f);
    partial_2 = vdupq_n_f32(0.0f);
    partial_3 = vdupq_n_f32(0.0f);
    for (int64_t block = 0; block < 4; block++) {
      const float32x4_t v0 = vld1q_f32(&row[block * 16]);
      partial_0 = vfmaq_f32(partial_0, v0, v0);
      const float32x4_t v1 = vld1q_f32(&row[block * 16 + 4]);
      partial_1 = vfmaq_f32(partial_1, v1, v1);
      const float32x4_t v2 = vld1q_f32(&row[block * 16 + 8]);
      partial_2 = vfmaq_f32(partial_2, v2, v2);
      const float32x4_t v3 = vld1q_f32(&row[block * 16 + 12]);
      partial_3 = vfmaq_f32(partial_3, v3, v3);
    }
    const float sum = tree_add(partial_0, partial_1, partial_2, partial_3);
    if (r < 8) {
      y[r] = __builtin_sqrtf(sum);
    }
  }
}
