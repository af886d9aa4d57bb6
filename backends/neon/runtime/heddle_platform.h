// The few things that differ between a system with threads and wasm: waiting, waking, time, and what wasm lacks of the C
// library. Compiler builtins instead of <atomic>, so that no standard library is linked. Knows nothing of programs.
#ifndef HEDDLE_PLATFORM_H
#define HEDDLE_PLATFORM_H

#include <stddef.h>
#include <stdint.h>

#if defined(__wasm__)
#define HEDDLE_WASM 1
#else
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace heddle {

inline void zero(void* target, int64_t bytes) {
#if defined(HEDDLE_WASM)
  // With bulk memory this is one instruction; without a C library there is nothing to call.
  __builtin_memset(target, 0, static_cast<size_t>(bytes));
#else
  memset(target, 0, static_cast<size_t>(bytes));
#endif
}

inline void copy(void* target, const void* source, int64_t bytes) {
#if defined(HEDDLE_WASM)
  __builtin_memcpy(target, source, static_cast<size_t>(bytes));
#else
  memcpy(target, source, static_cast<size_t>(bytes));
#endif
}

inline bool same_text(const char* a, const char* b) {
  while (*a != 0 && *a == *b) {
    a++;
    b++;
  }
  return *a == *b;
}

inline bool starts_with(const char* text, const char* prefix) {
  while (*prefix != 0) {
    if (*text++ != *prefix++) return false;
  }
  return true;
}

// Sleeps while *word is `expected`; may return early, so callers loop.
inline void wait_while(const int32_t* word, int32_t expected) {
#if defined(HEDDLE_WASM)
  __builtin_wasm_memory_atomic_wait32(const_cast<int32_t*>(word), expected, -1);
#elif defined(__linux__)
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
#else
  if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != expected) return;
  // No portable futex: look again every 50 µs.
  const struct timespec pause = {0, 50000};
  nanosleep(&pause, nullptr);
#endif
}

inline void wake_all(int32_t* word) {
#if defined(HEDDLE_WASM)
  __builtin_wasm_memory_atomic_notify(word, 0xffffffffu);
#elif defined(__linux__)
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr, nullptr, 0);
#else
  (void)word;
#endif
}

inline void spin_hint() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  __asm__ volatile("yield");
#endif
}

#if defined(HEDDLE_WASM)
// Microseconds from an arbitrary start; the driver's performance.now.
extern "C" __attribute__((import_module("heddle"), import_name("now"))) double heddle_wasm_now(void);
inline double now_microseconds() { return heddle_wasm_now(); }
#else
inline double now_microseconds() {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) * 1e-3;
}
#endif

// Kernels follow each other within microseconds, and a wake-up costs tens of them: look for this long before sleeping.
class Spin {
 public:
  // False when it is time to sleep.
  bool again() {
#if defined(HEDDLE_WASM)
    // Asking the time would be a call into JavaScript; a look costs some nanoseconds.
    return ++looks_ < 8192;
#else
    spin_hint();
    if ((++looks_ & 31) != 0) return true;
    const double now = now_microseconds();
    if (looks_ == 32) end_ = now + 40.0;
    return now < end_;
#endif
  }

 private:
  int32_t looks_ = 0;
#if !defined(HEDDLE_WASM)
  double end_ = 0;
#endif
};

}  // namespace heddle

#endif
