// Brings ranges of frozen tensors into the arena while kernels compute: one thread makes a function's reads in their order,
// each as soon as the memory it goes to is free. Knows reads and moments, neither kernels nor files.
#ifndef HEDDLE_READER_H
#define HEDDLE_READER_H

#include "heddle.h"
#include "heddle_platform.h"
#include "heddle_text.h"

namespace heddle {

struct alignas(64) Reader {
  // Set by the calling thread before `generation` moves on, and not touched until every read of the call is done.
  const heddle_read* reads;
  int32_t count;
  unsigned char* arena;
  heddle_fetch fetch;
  void* context;
  // Which call it is; what the idle reader sleeps on.
  alignas(64) int32_t generation;
  int32_t stopping;
  // Moments that are over: what a reader without free memory sleeps on.
  alignas(64) int32_t moments;
  // Reads that are done, or −1 when one failed: what a kernel without its range sleeps on.
  alignas(64) int32_t done;
  // The last generation whose reads are over, one way or another.
  alignas(64) int32_t finished;
  int32_t cancelled;
  char message[HEDDLE_MESSAGE_BYTES];
#if !defined(HEDDLE_WASM)
  pthread_t handle;
  int32_t started;
#endif
};

#if !defined(HEDDLE_WASM)

// Sleeps until *word is at least `wanted`, or negative, or the reader has to stop. Reading takes milliseconds: no spinning.
inline int32_t wait_until(int32_t* word, int32_t wanted, const int32_t* stopping) {
  for (;;) {
    const int32_t seen = __atomic_load_n(word, __ATOMIC_SEQ_CST);
    if (seen >= wanted || seen < 0 || (stopping != nullptr && __atomic_load_n(stopping, __ATOMIC_SEQ_CST) != 0)) return seen;
    wait_while(word, seen);
  }
}

inline void set_and_wake(int32_t* word, int32_t value) {
  __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
  wake_all(word);
}

// All reads of one call, unless the session ends, one fails or the rest is not wanted any more.
inline void make_reads(Reader& reader) {
  // After the last read the caller may set up the next call.
  const heddle_read* reads = reader.reads;
  const int32_t count = reader.count;
  for (int32_t index = 0; index < count; index++) {
    const heddle_read& read = reads[index];
    wait_until(&reader.moments, read.after, &reader.stopping);
    if (__atomic_load_n(&reader.stopping, __ATOMIC_SEQ_CST) != 0 || __atomic_load_n(&reader.cancelled, __ATOMIC_SEQ_CST) != 0) return;
    if (reader.fetch(reader.context, read.tensor, read.from, read.bytes, reader.arena + read.offset, reader.message) != 0) {
      set_and_wake(&reader.done, -1);
      return;
    }
    set_and_wake(&reader.done, index + 1);
  }
}

inline void* reader_main(void* pointer) {
  Reader& reader = *static_cast<Reader*>(pointer);
  for (int32_t seen = 0;;) {
    wait_until(&reader.generation, seen + 1, &reader.stopping);
    if (__atomic_load_n(&reader.stopping, __ATOMIC_SEQ_CST) != 0) return nullptr;
    seen = __atomic_load_n(&reader.generation, __ATOMIC_SEQ_CST);
    make_reads(reader);
    set_and_wake(&reader.finished, seen);
  }
}

inline bool start_reader(Reader& reader) {
  reader.started = pthread_create(&reader.handle, nullptr, reader_main, &reader) == 0 ? 1 : 0;
  return reader.started != 0;
}

inline void stop_reader(Reader& reader) {
  if (reader.started == 0) return;
  __atomic_store_n(&reader.stopping, 1, __ATOMIC_SEQ_CST);
  // Each word changes, so that nobody goes to sleep on what it was.
  set_and_wake(&reader.generation, __atomic_load_n(&reader.generation, __ATOMIC_SEQ_CST) + 1);
  set_and_wake(&reader.moments, __atomic_load_n(&reader.moments, __ATOMIC_SEQ_CST) + 1);
  pthread_join(reader.handle, nullptr);
  reader.started = 0;
}

// Ends the reads of a call that is given up, after the one that is being made.
inline void cancel_reads(Reader& reader) {
  const int32_t generation = __atomic_load_n(&reader.generation, __ATOMIC_SEQ_CST);
  if (reader.started == 0 || __atomic_load_n(&reader.finished, __ATOMIC_SEQ_CST) == generation) return;
  __atomic_store_n(&reader.cancelled, 1, __ATOMIC_SEQ_CST);
  // No read waits for memory any more.
  set_and_wake(&reader.moments, INT32_MAX);
  wait_until(&reader.finished, generation, nullptr);
  __atomic_store_n(&reader.cancelled, 0, __ATOMIC_SEQ_CST);
}

// The reads of a function begin. Those of the call before are done, or one of them failed, or they were cancelled.
inline void begin_reads(Reader& reader, const heddle_read* reads, int32_t count) {
  if (count == 0) return;
  reader.reads = reads;
  reader.count = count;
  __atomic_store_n(&reader.moments, 0, __ATOMIC_SEQ_CST);
  __atomic_store_n(&reader.done, 0, __ATOMIC_SEQ_CST);
  set_and_wake(&reader.generation, __atomic_load_n(&reader.generation, __ATOMIC_SEQ_CST) + 1);
}

inline void moment_over(Reader& reader, int32_t moments) { set_and_wake(&reader.moments, moments); }

// Waits for the first `count` reads; false when one failed.
inline bool reads_done(Reader& reader, int32_t count) { return count == 0 || wait_until(&reader.done, count, nullptr) >= 0; }

#else

// A module in WebAssembly has no storage: a program that streams is refused when it is opened.
inline bool start_reader(Reader&) { return false; }
inline void stop_reader(Reader&) {}
inline void cancel_reads(Reader&) {}
inline void begin_reads(Reader&, const heddle_read*, int32_t) {}
inline void moment_over(Reader&, int32_t) {}
inline bool reads_done(Reader&, int32_t) { return true; }

#endif

}  // namespace heddle

#endif
