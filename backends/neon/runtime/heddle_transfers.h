// Moves ranges of tensors between storage and the arena while kernels compute: one thread makes a function's transfers in
// their order, each as soon as its memory is free, or holds what is written. Knows transfers and moments, neither kernels nor
// files.
#ifndef HEDDLE_TRANSFERS_H
#define HEDDLE_TRANSFERS_H

#include "heddle.h"
#include "heddle_platform.h"
#include "heddle_text.h"

namespace heddle {

// A number that one thread counts up and another waits for.
struct Count {
  int32_t value;
  // The value that is waited for; 0 while nobody waits. To wake somebody is a system call, and most counts wake nobody.
  int32_t awaited;
};

struct alignas(64) Mover {
  const heddle_program* program;
  unsigned char* const* spaces;  // by heddle_space: arena, state, inputs
  heddle_storage storage;
  // Set by the calling thread before `generation` moves on, and not touched until every transfer of the call is done.
  const heddle_function* function;
  // Which call it is; what the idle mover sleeps on.
  alignas(64) int32_t generation;
  int32_t stopping;
  // Moments that are over: what a transfer whose memory is in use sleeps on.
  alignas(64) Count moments;
  // Transfers that are done, or −1 when one failed: what a kernel without its range sleeps on.
  alignas(64) Count done;
  // The last generation whose transfers are over, one way or another.
  alignas(64) int32_t finished;
  int32_t cancelled;
  char message[HEDDLE_MESSAGE_BYTES];
#if !defined(HEDDLE_WASM)
  pthread_t handle;
  int32_t started;
#endif
};

// Bytes of a frozen or stored tensor; −1 when the program has none there.
inline int64_t tensor_bytes(const heddle_program& program, const heddle_place& tensor) {
  if (tensor.space != HEDDLE_IN_CHECKPOINT && tensor.space != HEDDLE_IN_STORAGE) return -1;
  for (int32_t index = 0; index < program.value_count; index++) {
    const heddle_value& value = program.values[index];
    if (value.place.space == tensor.space && value.place.offset_or_index == tensor.offset_or_index) return value.bytes;
  }
  return -1;
}

// How heddle_storage counts tensors.
inline int32_t storage_number(const heddle_program& program, const heddle_place& tensor) {
  const int32_t index = static_cast<int32_t>(tensor.offset_or_index);
  return tensor.space == HEDDLE_IN_STORAGE ? program.checkpoint_count + index : index;
}

// Whether each of `count` ids names one of so many rows.
inline bool rows_known(const int32_t* ids, int64_t count, int64_t rows, Text message) {
  for (int64_t index = 0; index < count; index++) {
    if (ids[index] >= 0 && ids[index] < rows) continue;
    message << "there is no row " << int64_t{ids[index]} << "; ids go from 0 to " << rows - 1;
    return false;
  }
  return true;
}

// Rows that lie in one piece, in storage and where they go: from which place on, how many, and the id of the first.
struct RowRun {
  int64_t place;
  int64_t count;
  int32_t id;
};

// Visits the rows of the places that are wanted, those whose ids count up by one at once; false as soon as a visit is.
template <typename Wanted, typename Visit>
inline bool each_run(const int32_t* ids, int64_t count, Wanted wanted, Visit visit) {
  for (int64_t place = 0; place < count;) {
    if (!wanted(place)) {
      place++;
      continue;
    }
    RowRun run = {place, 1, ids[place]};
    while (place + run.count < count && wanted(place + run.count) && ids[place + run.count] == run.id + run.count) run.count++;
    if (!visit(run)) return false;
    place += run.count;
  }
  return true;
}

#if !defined(HEDDLE_WASM)

// Sleeps until *word is at least `wanted`, or negative, or the mover has to stop. Transfers take milliseconds: no spinning.
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

// As `wait_until`, for the one thread that waits for this count. Who counts looks at `awaited` behind its store, who waits at the
// value behind its own: one of them sees the other.
inline int32_t await_count(Count& count, int32_t wanted, const int32_t* stopping) {
  __atomic_store_n(&count.awaited, wanted, __ATOMIC_SEQ_CST);
  const int32_t seen = wait_until(&count.value, wanted, stopping);
  __atomic_store_n(&count.awaited, 0, __ATOMIC_SEQ_CST);
  return seen;
}

// What is negative is waited for by all.
inline void set_count(Count& count, int32_t value) {
  __atomic_store_n(&count.value, value, __ATOMIC_SEQ_CST);
  const int32_t awaited = __atomic_load_n(&count.awaited, __ATOMIC_SEQ_CST);
  if (awaited != 0 && (value < 0 || value >= awaited)) wake_all(&count.value);
}

// Whether the mover is to leave what it does: the session ends, or the call is given up.
inline bool is_left(const Mover& mover) {
  return __atomic_load_n(&mover.stopping, __ATOMIC_SEQ_CST) != 0 || __atomic_load_n(&mover.cancelled, __ATOMIC_SEQ_CST) != 0;
}

inline bool move_range(Mover& mover, const heddle_transfer& transfer, int64_t from, int64_t bytes, unsigned char* memory) {
  const heddle_storage& storage = mover.storage;
  if (transfer.kind == HEDDLE_KEEP) {
    return storage.store(storage.context, -1, from, bytes, mover.spaces[HEDDLE_IN_STATE] + from, mover.message) == 0;
  }
  const int32_t tensor = storage_number(*mover.program, transfer.tensor);
  switch (transfer.kind) {
    case HEDDLE_WRITE:
      return storage.store(storage.context, tensor, from, bytes, memory, mover.message) == 0;
    default:
      return storage.fetch(storage.context, tensor, from, bytes, transfer.kind == HEDDLE_READ_NEXT ? 1 : 0, memory, mover.message) == 0;
  }
}

// The rows of first occurrences, each where its place is, neighbours with one request.
inline bool move_rows(Mover& mover, const heddle_transfer& transfer, const heddle_named& named) {
  unsigned char* const arena = mover.spaces[HEDDLE_IN_ARENA];
  const int32_t* ids = reinterpret_cast<const int32_t*>(mover.spaces[named.ids.space] + named.ids.offset_or_index);
  const int32_t* firsts = reinterpret_cast<const int32_t*>(arena + named.firsts);
  const int64_t rows = tensor_bytes(*mover.program, transfer.tensor) / named.row_bytes;
  const heddle_storage& storage = mover.storage;
  const auto is_first = [&](int64_t place) { return firsts[place] == place; };
  // They were in range when the function began, but they are the caller's memory.
  const auto known = [&](const RowRun& run) {
    const int32_t ends[] = {run.id, static_cast<int32_t>(run.id + run.count - 1)};
    return rows_known(ends, 2, rows, Text(mover.message, HEDDLE_MESSAGE_BYTES));
  };
  if (storage.ask != nullptr) {
    const int32_t tensor = storage_number(*mover.program, transfer.tensor);
    const int32_t next = transfer.kind == HEDDLE_READ_NEXT ? 1 : 0;
    const int32_t written = transfer.kind == HEDDLE_WRITE ? 1 : 0;
    const auto ask = [&](const RowRun& run) {
      if (!known(run)) return false;
      storage.ask(storage.context, tensor, run.id * named.row_bytes, run.count * named.row_bytes, next, written);
      return true;
    };
    if (!each_run(ids, named.count, is_first, ask)) return false;
  }
  return each_run(ids, named.count, is_first, [&](const RowRun& run) {
    unsigned char* const memory = arena + transfer.offset + run.place * named.row_bytes;
    return !is_left(mover) && known(run) && move_range(mover, transfer, run.id * named.row_bytes, run.count * named.row_bytes, memory);
  });
}

// All transfers of one call, unless the session ends, one fails or the rest is not wanted any more.
inline void make_transfers(Mover& mover) {
  // After the last transfer the caller may set up the next call.
  const heddle_function& function = *mover.function;
  for (int32_t index = 0; index < function.transfer_count; index++) {
    const heddle_transfer& transfer = function.transfers[index];
    await_count(mover.moments, transfer.after, &mover.stopping);
    if (is_left(mover)) return;
    const bool moved = transfer.named < 0 ? move_range(mover, transfer, transfer.from, transfer.bytes, mover.spaces[HEDDLE_IN_ARENA] + transfer.offset)
                                          : move_rows(mover, transfer, function.named[transfer.named]);
    if (!moved) {
      set_count(mover.done, -1);
      return;
    }
    set_count(mover.done, index + 1);
  }
}

inline void* mover_main(void* pointer) {
  Mover& mover = *static_cast<Mover*>(pointer);
  for (int32_t seen = 0;;) {
    wait_until(&mover.generation, seen + 1, &mover.stopping);
    if (__atomic_load_n(&mover.stopping, __ATOMIC_SEQ_CST) != 0) return nullptr;
    seen = __atomic_load_n(&mover.generation, __ATOMIC_SEQ_CST);
    make_transfers(mover);
    set_and_wake(&mover.finished, seen);
  }
}

inline bool start_mover(Mover& mover) {
  mover.started = pthread_create(&mover.handle, nullptr, mover_main, &mover) == 0 ? 1 : 0;
  return mover.started != 0;
}

inline void stop_mover(Mover& mover) {
  if (mover.started == 0) return;
  __atomic_store_n(&mover.stopping, 1, __ATOMIC_SEQ_CST);
  // Each word changes, so that nobody goes to sleep on what it was.
  set_and_wake(&mover.generation, __atomic_load_n(&mover.generation, __ATOMIC_SEQ_CST) + 1);
  set_count(mover.moments, -1);
  pthread_join(mover.handle, nullptr);
  mover.started = 0;
}

// Ends the transfers of a call that is given up, after the range that is being moved.
inline void cancel_transfers(Mover& mover) {
  const int32_t generation = __atomic_load_n(&mover.generation, __ATOMIC_SEQ_CST);
  if (mover.started == 0 || __atomic_load_n(&mover.finished, __ATOMIC_SEQ_CST) == generation) return;
  __atomic_store_n(&mover.cancelled, 1, __ATOMIC_SEQ_CST);
  // No transfer waits for memory any more.
  set_count(mover.moments, INT32_MAX);
  wait_until(&mover.finished, generation, nullptr);
  __atomic_store_n(&mover.cancelled, 0, __ATOMIC_SEQ_CST);
}

// The transfers of a function begin. Those of the call before are done, or one of them failed, or they were cancelled.
inline void begin_transfers(Mover& mover, const heddle_function& function) {
  if (function.transfer_count == 0) return;
  mover.function = &function;
  set_count(mover.moments, 0);
  set_count(mover.done, 0);
  set_and_wake(&mover.generation, __atomic_load_n(&mover.generation, __ATOMIC_SEQ_CST) + 1);
}

inline void moment_over(Mover& mover, int32_t moments) { set_count(mover.moments, moments); }

// Waits for the first `count` transfers; false when one failed.
inline bool transfers_done(Mover& mover, int32_t count) { return count == 0 || await_count(mover.done, count, nullptr) >= 0; }

#else

// A module in WebAssembly has no storage: a program that streams is refused when it is opened.
inline bool start_mover(Mover&) { return false; }
inline void stop_mover(Mover&) {}
inline void cancel_transfers(Mover&) {}
inline void begin_transfers(Mover&, const heddle_function&) {}
inline void moment_over(Mover&, int32_t) {}
inline bool transfers_done(Mover&, int32_t) { return true; }

#endif

}  // namespace heddle

#endif
