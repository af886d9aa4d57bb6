// Decides where each part of a session lies in the caller's one block of memory. Runs nothing.
#ifndef HEDDLE_LAYOUT_H
#define HEDDLE_LAYOUT_H

#include "heddle_pool.h"
#include "heddle_transfers.h"

namespace heddle {

// Offsets into the session's memory, in bytes.
struct Layout {
  int64_t pool;
  int64_t mover;
  int64_t profile;
  int64_t arguments;
  int64_t sizes;
  int64_t scratch;
  int64_t scratch_stride;
  int64_t state;
  int64_t inputs;
  int64_t arena;
  int64_t total;
};

inline int64_t aligned(int64_t bytes) { return (bytes + (HEDDLE_ALIGNMENT - 1)) & ~static_cast<int64_t>(HEDDLE_ALIGNMENT - 1); }

inline Layout lay_out(const heddle_program& program, int64_t session_bytes, int32_t threads) {
  Layout layout;
  int64_t next = 0;
  const auto take = [&next](int64_t bytes) {
    const int64_t offset = next;
    next = aligned(next + bytes);
    return offset;
  };
  take(session_bytes);
  layout.pool = take(static_cast<int64_t>(sizeof(Pool)));
  layout.mover = take(static_cast<int64_t>(sizeof(Mover)));
  layout.profile = take(program.kernel_count * static_cast<int64_t>(sizeof(heddle_kernel_profile)));
  layout.arguments = take(program.most_arguments * static_cast<int64_t>(sizeof(void*)));
  layout.sizes = take(program.size_count * static_cast<int64_t>(sizeof(int32_t)));
  layout.scratch_stride = aligned(program.scratch_bytes);
  layout.scratch = take(layout.scratch_stride * threads);
  layout.state = take(program.state_bytes);
  layout.inputs = take(program.input_bytes);
  layout.arena = take(program.arena_bytes);
  layout.total = next;
  return layout;
}

}  // namespace heddle

#endif
