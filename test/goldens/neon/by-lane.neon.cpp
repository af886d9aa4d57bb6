static int64_t kernel_by_lane_grid(const int32_t* sizes) {
  (void)sizes;
  return (int64_t)(301);
}

static void kernel_by_lane(const int32_t* sizes, void* const* arguments, unsigned char* scratch, int64_t begin, int64_t end) {
  (void)sizes;
  (void)scratch;
  const float* __restrict x = (const float*)arguments[0];
  const float* __restrict w = (const float*)arguments[1];
  float* __restrict out = (float*)arguments[2];
  for (int64_t block = begin; block < end; block++) {
    float32x4_t held_0_0 = {};
    float32x4_t held_1_0 = {};
    float32x4_t sums_0 = {};
    held_0_0 = vld1q_f32(&x[block * 8]);
    held_1_0 = vld1q_f32(&x[block * 8 + 4]);
    sums_0 = vld1q_f32(&w[block * 8 + 4]);
    sums_0 = vfmaq_laneq_f32(sums_0, vld1q_f32(&w[block * 8]), held_0_0, 0);
    sums_0 = vfmaq_laneq_f32(sums_0, vld1q_f32(&w[block * 8]), held_0_0, 1);
    sums_0 = vfmaq_laneq_f32(sums_0, vld1q_f32(&w[block * 8]), held_0_0, 2);
    sums_0 = vfmaq_laneq_f32(sums_0, vld1q_f32(&w[block * 8]), held_0_0, 3);
    sums_0 = vfmaq_laneq_f32(sums_0, vld1q_f32(&w[block * 8 + 4]), held_1_0, 0);
    sums_0 = vfmaq_laneq_f32(sums_0, vld1q_f32(&w[block * 8 + 4]), held_1_0, 1);
    sums_0 = vfmaq_laneq_f32(sums_0, vld1q_f32(&w[block * 8 + 4]), held_1_0, 2);
    sums_0 = vfmaq_laneq_f32(sums_0, vld1q_f32(&w[block * 8 + 4]), held_1_0, 3);
    vst1q_f32(&out[block * 4], vaddq_f32(sums_0, vdupq_n_f32(vgetq_lane_f32(held_1_0, 3))));
  }
}
