static int64_t kernel_0_copy_grid(const int32_t* sizes) {
  (void)sizes;
  return 1;
}

static void kernel_0_copy(const int32_t* sizes, void* const* arguments, unsigned char* scratch, int64_t begin, int64_t end) {
  (void)sizes;
  (void)scratch;
  const float* __restrict x = (const float*)arguments[0];
  float* __restrict y = (float*)arguments[1];
  if (begin >= end) return;
  y[0] = x[0];
}

static const int64_t shapes[] = {
  8,
  8,
  1,
  3,
  1,
};
static const heddle_place arguments[] = {
  {HEDDLE_IN_STATE, 0},
  {HEDDLE_IN_ARENA, 256},
};
static const heddle_part parts[] = {
  {},
};
static const heddle_window windows[] = {
  {},
};
static const heddle_size sizes[] = {
  {"seq", 128},
};
static const heddle_kernel kernels[] = {
  {"copy", kernel_0_copy, kernel_0_copy_grid, 0, 2, 1, 0},
};
static const heddle_value values[] = {
  {"weight.\303\274", HEDDLE_TRAINABLE, HEDDLE_F32, {HEDDLE_IN_STATE, 0}, 256, 2, &shapes[0], HEDDLE_NORMAL, 0.02, 0, 0},
  {"step", HEDDLE_INPUT, HEDDLE_I32, {HEDDLE_IN_INPUTS, 0}, 4, 0, &shapes[2], HEDDLE_NO_INITIAL, 0, 0, 0},
  {"table", HEDDLE_FROZEN, HEDDLE_BF16, {HEDDLE_IN_CHECKPOINT, 0}, 6, 1, &shapes[3], HEDDLE_NO_INITIAL, 0, 0, 0},
};
static const heddle_launch launches_0[] = {
  {0, 0, "loss", 0, 0, 0},
};
static const heddle_output outputs_0[] = {
  {"loss", HEDDLE_F32, {HEDDLE_IN_ARENA, 256}, 4, 0, &shapes[4]},
};
static const heddle_transfer transfers_0[] = {
  {},
};
static const heddle_named named_0[] = {
  {},
};
static const heddle_rows rows_0[] = {
  {},
};
static const heddle_firsts firsts_0[] = {
  {},
};
static const heddle_launch launches_1[] = {
  {},
};
static const heddle_output outputs_1[] = {
  {},
};
static const heddle_transfer transfers_1[] = {
  {},
};
static const heddle_named named_1[] = {
  {},
};
static const heddle_rows rows_1[] = {
  {},
};
static const heddle_firsts firsts_1[] = {
  {},
};
static const heddle_function functions[] = {
  {"forward", 1, launches_0, 1, outputs_0, 0, transfers_0, 0, named_0, 0, rows_0, 0, firsts_0, 0},
  {"nothing", 0, launches_1, 0, outputs_1, 0, transfers_1, 0, named_1, 0, rows_1, 0, firsts_1, 0},
};
}  // namespace heddle_generated
#pragma GCC diagnostic pop
#undef INLINE
extern "C" const heddle_program heddle_program_table = {
  HEDDLE_PROGRAM_VERSION, "two \042words\042\077\077/\012", "neon",
  1, heddle_generated::sizes,
  1, heddle_generated::kernels,
  2, heddle_generated::arguments,
  0, heddle_generated::parts,
  0, heddle_generated::windows,
  3, heddle_generated::values,
  2, heddle_generated::functions,
  512, 256, 0, 64,
  1, 0,
  0, 2,
};
