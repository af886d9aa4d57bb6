// The C ABI of a compiled program: what a phone shell, the command-line binary and the wasm driver call. Every call
// returns a code and leaves a sentence behind; nothing exits, throws, allocates or keeps global state. It must not know
// how kernels are spelled, nor where the bytes it is given came from.
#ifndef HEDDLE_H
#define HEDDLE_H

#include "heddle_program.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HEDDLE_MESSAGE_BYTES 512
#define HEDDLE_MOST_THREADS 64
// Run-time extents of one program.
#define HEDDLE_MOST_SIZES 32
#define HEDDLE_ALIGNMENT 64

typedef enum {
  HEDDLE_OK = 0,
  // Stopped at a kernel boundary because the caller asked; the same call goes on where it stopped.
  HEDDLE_PAUSED = 1,
  // A loss or a norm is not finite; `apply` did not run. heddle_not_finite names the value.
  HEDDLE_NOT_FINITE = 2,
  // The caller passed something it may not: a size out of bounds, an unknown name, too little memory.
  HEDDLE_INVALID = 3,
  // The machine would not give what is needed: threads.
  HEDDLE_REFUSED = 4,
  // A tensor could not be read from storage, or not written, during the call, which is over. The version that stands is as
  // it was, but sums of gradients are no longer what they should be: only closing is sensible.
  HEDDLE_STORAGE_FAILED = 5
} heddle_code;

typedef struct heddle_session heddle_session;

typedef struct {
  const void* data;  // aligned to its element; null for a tensor that the program streams
  int64_t bytes;
} heddle_frozen;

// Where tensors are that a program does not keep in memory. `tensor` counts frozen tensors first, then stored values. Each
// answers 0, or anything else with a sentence of at most HEDDLE_MESSAGE_BYTES in `message`. Called by one thread at a time,
// which need not be the one that calls the session.
typedef struct {
  void* context;
  // Copies bytes `from` … `from` + `bytes` − 1 of a tensor, of the version that stands, or with `next` of the one that the update
  // under way makes, to which they were stored. Stored values begin as zeros.
  int32_t (*fetch)(void* context, int32_t tensor, int64_t from, int64_t bytes, int32_t next, void* to, char* message);
  // Overwrites bytes of a stored value: of the next version where it has versions and an update is under way. Tensor −1 is what the
  // session has in memory and carries over to the next step: bytes of the next version.
  int32_t (*store)(void* context, int32_t tensor, int64_t from, int64_t bytes, const void* data, char* message);
  // An update begins: every byte of every stored value with versions, and of what the session carries over, will be stored once,
  // and the version that stands stays as it is until `end_update`.
  int32_t (*begin_update)(void* context, char* message);
  // The next version stands from here on, on the medium itself.
  int32_t (*end_update)(void* context, char* message);
  // Bytes that will be fetched soon, or stored where `written` is not 0, so that a device may have several of them under way at
  // once; null where nothing comes of it.
  void (*ask)(void* context, int32_t tensor, int64_t from, int64_t bytes, int32_t next, int32_t written);
} heddle_storage;

// A value or an output in the session's memory.
typedef struct {
  void* data;
  int64_t bytes;
  int32_t dtype;  // heddle_dtype
} heddle_view;

// Asked after every launch but the last of a call, on the calling thread; anything but 0 pauses.
typedef int32_t (*heddle_pause)(void* context);

typedef struct {
  const heddle_program* program;
  // heddle_memory_bytes of zeros, 64-byte aligned; the caller's, and in use until heddle_close.
  void* memory;
  int64_t memory_bytes;
  const heddle_frozen* frozen;  // one per checkpoint tensor; read during every call
  int32_t frozen_count;
  int32_t threads;  // 1 … HEDDLE_MOST_THREADS, the calling thread included
  int32_t profile;  // 1: time every launch
  char* message;    // HEDDLE_MESSAGE_BYTES, the caller's; holds the sentence of the last call that failed
  heddle_storage storage;  // nulls for a program that has everything in memory
} heddle_config;

// Bytes of memory a session needs beside the frozen tensors; −1 for a table that is damaged or a wrong thread count.
int64_t heddle_memory_bytes(const heddle_program* program, int32_t threads);

// Checks the table, the memory and the frozen tensors, lays the session out and starts its threads.
int32_t heddle_open(const heddle_config* config, heddle_session** session);

// Where a value of the state or the inputs lies, by name. Frozen values have no view, nor has what is in storage. State must not be
// written while a call runs or is paused: another thread may be storing it.
int32_t heddle_value_view(heddle_session* session, const char* name, heddle_view* view);

// Where an output lies. It holds what the last call computed, so that call must have been of this function.
int32_t heddle_output_view(heddle_session* session, const char* function, const char* name, heddle_view* view);

// Index of a function, or −1.
int32_t heddle_find_function(const heddle_session* session, const char* name);

// Runs one function. `sizes`: heddle_program.size_count extents, each from 1 to its bound. No allocation, no system call
// but waiting for and waking threads.
int32_t heddle_call(heddle_session* session, int32_t function, const int32_t* sizes);

typedef enum {
  HEDDLE_MORE = 0,   // `accumulate` alone
  HEDDLE_LAST = 1,   // then `measure`, the check that the loss and every norm are finite, and `apply`
  HEDDLE_LATER = 2,  // as LAST, but the update is owed: the next step makes it beside its own first micro-batch
  HEDDLE_END = 3     // what LAST does behind `accumulate`, alone: the last micro-batch was one of MORE
} heddle_last;

// One micro-batch of a training step on the inputs as they are. Same promises as heddle_call. LATER is for programs that have
// `advance`; while an update is owed, what is trained is that of before, END is refused, and `heddle_settle` makes the update by
// itself.
int32_t heddle_step(heddle_session* session, const int32_t* sizes, int32_t last);

// Makes the update that is owed; nothing where none is. Same promises as heddle_call.
int32_t heddle_settle(heddle_session* session);

// Forgets the call that paused. What a step accumulated stays in its sums and gradients; nothing else of the state has
// changed unless heddle_updating says so. After an update of values in storage that was given up, or failed, every call is
// refused: what is in memory is half old, half new, and the version that stands is in storage.
void heddle_abandon(heddle_session* session);

// 1 while an update of a step is under way, by itself or beside the next pass: what is trained is half old, half new.
int32_t heddle_updating(const heddle_session* session);

// The value that made the last heddle_step return HEDDLE_NOT_FINITE, or null.
const char* heddle_not_finite(const heddle_session* session);

// Null asks nobody.
void heddle_set_pause(heddle_session* session, heddle_pause pause, void* context);

typedef struct {
  int64_t launches;
  double microseconds;  // 0 without heddle_config.profile
} heddle_kernel_profile;

// One entry per kernel of the program, in its order.
const heddle_kernel_profile* heddle_profile(const heddle_session* session);

// Stops and joins the threads. The memory is the caller's again. Null is allowed.
void heddle_close(heddle_session* session);

#ifdef __cplusplus
}
#endif

#endif
