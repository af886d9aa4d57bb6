// What the wasm driver calls: the C ABI with numbers instead of structs, one stack per thread, and the probe of the
// multiply-add. Memory is imported and shared; the driver grows it before it opens a session.
#ifndef HEDDLE_WASM_H
#define HEDDLE_WASM_H

#include <wasm_simd128.h>

#include "heddle_runtime.h"

#define HEDDLE_EXPORT(name) extern "C" __attribute__((export_name(#name), used))

extern "C" unsigned char __heap_base;

namespace heddle {

constexpr int64_t wasm_stack_bytes = 262144;

// The start of the driver's part of memory, then one stack per thread, then the session.
struct WasmHead {
  heddle_config config;
  // Set by the driver: above 0, the number of launches until a pause.
  int32_t pause_after;
  // Of the next call; written by the driver.
  int32_t sizes[HEDDLE_MOST_SIZES];
  char message[HEDDLE_MESSAGE_BYTES];
};

inline unsigned char* wasm_base() { return reinterpret_cast<unsigned char*>(aligned(reinterpret_cast<int64_t>(&__heap_base))); }

inline WasmHead& wasm_head() { return *reinterpret_cast<WasmHead*>(wasm_base()); }

inline int64_t wasm_head_bytes(int32_t threads, int32_t frozen_count) {
  return aligned(sizeof(WasmHead)) + aligned(frozen_count * static_cast<int64_t>(sizeof(heddle_frozen))) +
         threads * wasm_stack_bytes;
}

inline heddle_frozen* wasm_frozen() { return reinterpret_cast<heddle_frozen*>(wasm_base() + aligned(sizeof(WasmHead))); }

inline int32_t wasm_pause(void* context) {
  int32_t* after = static_cast<int32_t*>(context);
  int32_t left = __atomic_load_n(after, __ATOMIC_ACQUIRE);
  while (left > 0) {
    if (__atomic_compare_exchange_n(after, &left, left - 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return left == 1;
  }
  return 0;
}

}  // namespace heddle

// a·b + c as kernels compute it; the driver asks with numbers for which two roundings show.
HEDDLE_EXPORT(heddle_wasm_multiply_add) float heddle_wasm_multiply_add(float a, float b, float c) {
  return wasm_f32x4_extract_lane(wasm_f32x4_relaxed_madd(wasm_f32x4_splat(a), wasm_f32x4_splat(b), wasm_f32x4_splat(c)), 0);
}

// Where the frozen tensors begin when `frozen_count` of them are given: all memory below is the session's. −1: refused.
HEDDLE_EXPORT(heddle_wasm_bytes) double heddle_wasm_bytes(int32_t threads) {
  const int64_t session = heddle_memory_bytes(&heddle_program_table, threads);
  if (session < 0) return -1;
  return static_cast<double>(reinterpret_cast<int64_t>(heddle::wasm_base()) +
                             heddle::wasm_head_bytes(threads, heddle_program_table.checkpoint_count) + session);
}

HEDDLE_EXPORT(heddle_wasm_set_frozen) void heddle_wasm_set_frozen(int32_t index, const void* data, double bytes) {
  if (index < 0 || index >= heddle_program_table.checkpoint_count) return;
  heddle::wasm_frozen()[index] = {data, static_cast<int64_t>(bytes)};
}

// Null when it fails; the message says why. Memory must reach heddle_wasm_bytes(threads).
HEDDLE_EXPORT(heddle_wasm_open) heddle_session* heddle_wasm_open(int32_t threads, int32_t profile) {
  heddle::WasmHead& head = heddle::wasm_head();
  const int64_t bytes = heddle_memory_bytes(&heddle_program_table, threads);
  if (bytes < 0) return nullptr;
  const int32_t frozen_count = heddle_program_table.checkpoint_count;
  unsigned char* memory = heddle::wasm_base() + heddle::wasm_head_bytes(threads, frozen_count);
  head.config = {&heddle_program_table, memory, bytes, heddle::wasm_frozen(), frozen_count, threads, profile, head.message,
                 {nullptr, nullptr, nullptr, nullptr, nullptr}};
  heddle_session* session;
  if (heddle_open(&head.config, &session) != HEDDLE_OK) return nullptr;
  heddle_set_pause(session, heddle::wasm_pause, &head.pause_after);
  return session;
}

// Top of the stack of thread 0 … threads − 1: every instance that runs kernels gets its own `__stack_pointer`. The
// instance that opens and asks questions keeps the one it was linked with.
HEDDLE_EXPORT(heddle_wasm_stack) void* heddle_wasm_stack(int32_t thread) {
  return heddle::wasm_base() + heddle::wasm_head_bytes(thread + 1, heddle_program_table.checkpoint_count);
}

// The life of helper thread 1 … threads − 1: returns when the session is closed.
HEDDLE_EXPORT(heddle_wasm_help) void heddle_wasm_help(heddle_session* session, int32_t helper) {
  heddle::help(*session->pool, helper);
}

HEDDLE_EXPORT(heddle_wasm_message) const char* heddle_wasm_message() { return heddle::wasm_head().message; }

HEDDLE_EXPORT(heddle_wasm_pause_word) int32_t* heddle_wasm_pause_word() { return &heddle::wasm_head().pause_after; }

// Address of a space's first byte: 0 arena, 1 state, 2 inputs.
HEDDLE_EXPORT(heddle_wasm_space) unsigned char* heddle_wasm_space(heddle_session* session, int32_t space) {
  return space < 0 || space > 2 ? nullptr : session->spaces[space];
}

// `function`: an index, or −1 for a micro-batch of a step, −2 for the last one, −3 for the step's end alone. Sizes lie at heddle_wasm_sizes.
HEDDLE_EXPORT(heddle_wasm_run) int32_t heddle_wasm_run(heddle_session* session, int32_t function) {
  const int32_t* sizes = heddle::wasm_head().sizes;
  if (function >= 0) return heddle_call(session, function, sizes);
  return heddle_step(session, sizes, function == -3 ? HEDDLE_END : function == -2 ? HEDDLE_LAST : HEDDLE_MORE);
}

HEDDLE_EXPORT(heddle_wasm_sizes) int32_t* heddle_wasm_sizes() { return heddle::wasm_head().sizes; }

HEDDLE_EXPORT(heddle_wasm_not_finite) const char* heddle_wasm_not_finite(const heddle_session* session) {
  return heddle_not_finite(session);
}

HEDDLE_EXPORT(heddle_wasm_profile) const heddle_kernel_profile* heddle_wasm_profile(const heddle_session* session) {
  return heddle_profile(session);
}

HEDDLE_EXPORT(heddle_wasm_close) void heddle_wasm_close(heddle_session* session) { heddle_close(session); }

#endif
