// Test hook of a native build with HEDDLE_COUNT_ALLOCATIONS: stands in for malloc, its kin and mmap, and counts them, on
// every thread. It replaces the process's own, so only a program may include it, never the library. Linux with glibc.
#ifndef HEDDLE_COUNT_H
#define HEDDLE_COUNT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace heddle {

inline int64_t allocation_count = 0;

inline void count_allocation() { __atomic_add_fetch(&allocation_count, 1, __ATOMIC_RELAXED); }

inline int64_t allocations() { return __atomic_load_n(&allocation_count, __ATOMIC_RELAXED); }

}  // namespace heddle

extern "C" {

void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* block, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void* block);

void* malloc(size_t bytes) noexcept {
  heddle::count_allocation();
  return __libc_malloc(bytes);
}

void* calloc(size_t count, size_t bytes) noexcept {
  heddle::count_allocation();
  return __libc_calloc(count, bytes);
}

void* realloc(void* block, size_t bytes) noexcept {
  heddle::count_allocation();
  return __libc_realloc(block, bytes);
}

void* aligned_alloc(size_t alignment, size_t bytes) noexcept {
  heddle::count_allocation();
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void** block, size_t alignment, size_t bytes) noexcept {
  heddle::count_allocation();
  *block = __libc_memalign(alignment, bytes);
  return *block == nullptr ? 12 : 0;
}

void free(void* block) noexcept {
  if (block != nullptr) heddle::count_allocation();
  __libc_free(block);
}

void* mmap(void* address, size_t bytes, int protection, int flags, int file, off_t offset) noexcept {
  heddle::count_allocation();
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, bytes, protection, flags, file, offset));
}

}  // extern "C"

#endif
