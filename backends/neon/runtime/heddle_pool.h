// Hands the grid of one launch to a fixed set of threads. Chunks are claimed one by one, so fast cores take more; a
// thread that wakes late finds nothing to claim and delays nobody. Knows kernels only as functions over a range.
#ifndef HEDDLE_POOL_H
#define HEDDLE_POOL_H

#include "heddle.h"
#include "heddle_platform.h"

namespace heddle {

struct Job {
  heddle_kernel_run run;
  const int32_t* sizes;
  void* const* args;
  // The first point, and how many there are.
  int64_t begin;
  int64_t grid;
  int64_t chunks;
};

struct alignas(64) Pool {
  // High 32 bits: which job; low 32 bits: chunks nobody has claimed. A claim that succeeds proves that the job in the
  // high half is the current one, and that it stays so until the chunk is finished: only then may `job` be read.
  alignas(64) uint64_t ticket;
  // Changes with every job; what idle threads sleep on.
  alignas(64) int32_t generation;
  int32_t sleepers;
  int32_t stopping;
  // Helpers that have taken their number, 1 … threads − 1.
  int32_t joined;
  // Chunks done of the current job; what the calling thread sleeps on.
  alignas(64) int32_t finished;
  int32_t caller_sleeps;
  alignas(64) Job job;
  int32_t threads;
  unsigned char* scratch;
  int64_t scratch_stride;
#if !defined(HEDDLE_WASM)
  pthread_t handles[HEDDLE_MOST_THREADS];
#endif
};

inline unsigned char* scratch_of(const Pool& pool, int32_t thread) { return pool.scratch + pool.scratch_stride * thread; }

// Takes chunks until none is left.
inline void work(Pool& pool, int32_t thread) {
  uint64_t ticket = __atomic_load_n(&pool.ticket, __ATOMIC_ACQUIRE);
  for (;;) {
    const uint32_t left = static_cast<uint32_t>(ticket);
    if (left == 0) return;
    if (!__atomic_compare_exchange_n(&pool.ticket, &ticket, ticket - 1, true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
      continue;
    }
    const Job& job = pool.job;
    const int64_t chunks = job.chunks;
    const int64_t chunk = chunks - left;
    job.run(job.sizes, job.args, scratch_of(pool, thread), job.begin + chunk * job.grid / chunks,
            job.begin + (chunk + 1) * job.grid / chunks);
    // From here on the job may be over: nothing of it is read again.
    const int32_t done = __atomic_add_fetch(&pool.finished, 1, __ATOMIC_SEQ_CST);
    if (done == chunks && __atomic_load_n(&pool.caller_sleeps, __ATOMIC_SEQ_CST) != 0) wake_all(&pool.finished);
    ticket = __atomic_load_n(&pool.ticket, __ATOMIC_ACQUIRE);
  }
}

// The life of a helper thread: until stop_pool.
inline void help(Pool& pool, int32_t thread) {
  int32_t seen = 0;
  for (;;) {
    Spin spin;
    int32_t generation;
    while ((generation = __atomic_load_n(&pool.generation, __ATOMIC_ACQUIRE)) == seen) {
      if (spin.again()) continue;
      // Counted before the wait looks at the word again, and the caller looks at the count after changing the word: one
      // of the two always sees the other.
      __atomic_add_fetch(&pool.sleepers, 1, __ATOMIC_SEQ_CST);
      wait_while(&pool.generation, seen);
      __atomic_sub_fetch(&pool.sleepers, 1, __ATOMIC_SEQ_CST);
    }
    seen = generation;
    if (__atomic_load_n(&pool.stopping, __ATOMIC_ACQUIRE) != 0) return;
    work(pool, thread);
  }
}

inline void announce(Pool& pool) {
  __atomic_add_fetch(&pool.generation, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&pool.sleepers, __ATOMIC_SEQ_CST) > 0) wake_all(&pool.generation);
}

// Runs the points of a job and returns when every one is done.
inline void run_grid(Pool& pool, const Job& wanted) {
  if (wanted.grid <= 0) return;
  if (pool.threads == 1 || wanted.grid == 1) {
    wanted.run(wanted.sizes, wanted.args, scratch_of(pool, 0), wanted.begin, wanted.begin + wanted.grid);
    return;
  }
  // Enough pieces that an uneven split costs little, few enough that claiming stays invisible.
  const int64_t pieces = 8 * static_cast<int64_t>(pool.threads);
  pool.job = wanted;
  pool.job.chunks = wanted.grid < pieces ? wanted.grid : pieces;
  const int32_t chunks = static_cast<int32_t>(pool.job.chunks);
  __atomic_store_n(&pool.finished, 0, __ATOMIC_RELAXED);
  const uint64_t number = ((__atomic_load_n(&pool.ticket, __ATOMIC_RELAXED) >> 32) + 1) & 0xffffffffu;
  __atomic_store_n(&pool.ticket, (number << 32) | static_cast<uint32_t>(chunks), __ATOMIC_RELEASE);
  announce(pool);
  work(pool, 0);

  Spin spin;
  int32_t done;
  while ((done = __atomic_load_n(&pool.finished, __ATOMIC_SEQ_CST)) != chunks) {
    if (spin.again()) continue;
    __atomic_store_n(&pool.caller_sleeps, 1, __ATOMIC_SEQ_CST);
    done = __atomic_load_n(&pool.finished, __ATOMIC_SEQ_CST);
    if (done != chunks) wait_while(&pool.finished, done);
    __atomic_store_n(&pool.caller_sleeps, 0, __ATOMIC_SEQ_CST);
  }
}

#if !defined(HEDDLE_WASM)
inline void* helper_main(void* pool_pointer) {
  Pool& pool = *static_cast<Pool*>(pool_pointer);
  help(pool, __atomic_add_fetch(&pool.joined, 1, __ATOMIC_ACQ_REL));
  return nullptr;
}
#endif

// `started`: threads of the pool that run, the calling one included. Helpers of wasm are the driver's to end.
inline void stop_pool(Pool& pool, int32_t started) {
  __atomic_store_n(&pool.stopping, 1, __ATOMIC_RELEASE);
  announce(pool);
#if !defined(HEDDLE_WASM)
  for (int32_t helper = 1; helper < started; helper++) pthread_join(pool.handles[helper], nullptr);
#else
  (void)started;
#endif
}

}  // namespace heddle

#endif
