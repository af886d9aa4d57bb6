// Checks a program table before anything trusts it and decides where each part of a session lies in the caller's one
// block of memory. Runs nothing.
#ifndef HEDDLE_LAYOUT_H
#define HEDDLE_LAYOUT_H

#include "heddle_pool.h"
#include "heddle_reader.h"

namespace heddle {

// Offsets into the session's memory, in bytes.
struct Layout {
  int64_t pool;
  int64_t reader;
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

// More than any machine has, and small enough that no sum below overflows.
constexpr int64_t most_bytes = int64_t{1} << 48;

inline bool plausible(int64_t bytes) { return bytes >= 0 && bytes <= most_bytes; }

inline int64_t space_bytes(const heddle_program& program, int32_t space) {
  switch (space) {
    case HEDDLE_IN_ARENA:
      return program.arena_bytes;
    case HEDDLE_IN_STATE:
      return program.state_bytes;
    case HEDDLE_IN_INPUTS:
      return program.input_bytes;
    default:
      return -1;
  }
}

// Whether `bytes` bytes at `place` lie inside their space, at an aligned offset.
inline bool place_fits(const heddle_program& program, const heddle_place& place, int64_t bytes) {
  if (place.space == HEDDLE_IN_CHECKPOINT) {
    return place.offset_or_index >= 0 && place.offset_or_index < program.checkpoint_count;
  }
  const int64_t space = space_bytes(program, place.space);
  const int64_t offset = place.offset_or_index;
  return offset >= 0 && offset % HEDDLE_ALIGNMENT == 0 && bytes >= 0 && offset <= space && bytes <= space - offset;
}

inline bool launch_fits(const heddle_program& program, const heddle_launch& launch) {
  if (launch.kernel < 0 || launch.kernel >= program.kernel_count) return false;
  const int64_t count = program.kernels[launch.kernel].argument_count;
  if (count < 0 || count > program.most_arguments || launch.argument_begin < 0) return false;
  if (launch.argument_begin + count > program.argument_count) return false;
  for (int64_t argument = 0; argument < count; argument++) {
    if (!place_fits(program, program.arguments[launch.argument_begin + argument], 0)) return false;
  }
  return true;
}

// Bytes of a frozen tensor; −1 when the program has none of that index.
inline int64_t tensor_bytes(const heddle_program& program, int32_t tensor) {
  for (int32_t index = 0; index < program.value_count; index++) {
    const heddle_value& value = program.values[index];
    if (value.place.space == HEDDLE_IN_CHECKPOINT && value.place.offset_or_index == tensor) return value.bytes;
  }
  return -1;
}

// Whether the parts of a launch are all its iterations in order, and wait for no more reads than there are.
inline bool parts_fit(const heddle_program& program, const heddle_launch& launch, int32_t reads) {
  if (launch.part_count == 0) return true;
  if (launch.part_begin < 0 || launch.part_count < 0 || launch.part_count > program.part_count - launch.part_begin) return false;
  const heddle_kernel& kernel = program.kernels[launch.kernel];
  int64_t next = 0;
  for (int32_t index = 0; index < launch.part_count; index++) {
    const heddle_part& part = program.parts[launch.part_begin + index];
    if (part.begin != next || part.end <= part.begin || part.reads < 0 || part.reads > reads) return false;
    next = part.end;
    if (part.window_begin < 0 || part.window_count < 0 || part.window_count > program.window_count - part.window_begin) return false;
    for (int32_t window = 0; window < part.window_count; window++) {
      const heddle_window& one = program.windows[part.window_begin + window];
      if (one.argument < 0 || one.argument >= kernel.argument_count || one.from < 0 || one.from > most_bytes ||
          one.offset < 0 || one.offset > program.arena_bytes) {
        return false;
      }
    }
  }
  return next == kernel.outermost;
}

// Whether reads stay inside their tensors and the arena, in an order that can be kept.
inline bool reads_fit(const heddle_program& program, const heddle_function& function) {
  int32_t after = 0;
  for (int32_t index = 0; index < function.read_count; index++) {
    const heddle_read& read = function.reads[index];
    const int64_t tensor = tensor_bytes(program, read.tensor);
    if (read.after < after || read.from < 0 || read.bytes <= 0 || read.bytes > tensor || read.from > tensor - read.bytes ||
        read.offset < 0 || read.offset > program.arena_bytes || read.bytes > program.arena_bytes - read.offset) {
      return false;
    }
    after = read.after;
  }
  for (int32_t index = 0; index < function.rows_count; index++) {
    const heddle_rows& rows = function.rows[index];
    if (rows.count <= 0 || rows.row_bytes <= 0 || rows.count > most_bytes / 4 || rows.row_bytes > most_bytes / rows.count ||
        rows.ids.space == HEDDLE_IN_CHECKPOINT || rows.to.space == HEDDLE_IN_CHECKPOINT ||
        rows.row_bytes > tensor_bytes(program, rows.tensor) || !place_fits(program, rows.ids, rows.count * 4) ||
        !place_fits(program, rows.to, rows.count * rows.row_bytes)) {
      return false;
    }
  }
  return true;
}

// Null for a sound table, else what is wrong with it.
inline const char* table_fault(const heddle_program& program) {
  if (program.version != HEDDLE_PROGRAM_VERSION) return "the program was compiled for another version of the run-time";
  if (!plausible(program.arena_bytes) || !plausible(program.state_bytes) || !plausible(program.input_bytes) ||
      !plausible(program.scratch_bytes) || program.most_arguments < 0 || program.size_count < 0 ||
      program.size_count > HEDDLE_MOST_SIZES || program.checkpoint_count < 0) {
    return "the program table has impossible sizes";
  }
  for (int32_t kernel = 0; kernel < program.kernel_count; kernel++) {
    const int64_t scratch = program.kernels[kernel].scratch_bytes;
    if (scratch < 0 || scratch > program.scratch_bytes) return "a kernel wants more scratch than the table allows";
    if (program.kernels[kernel].outermost < 1) return "a kernel has no iterations";
  }
  for (int32_t value = 0; value < program.value_count; value++) {
    if (!place_fits(program, program.values[value].place, program.values[value].bytes)) {
      return "a value lies outside its space";
    }
  }
  for (int32_t index = 0; index < program.function_count; index++) {
    const heddle_function& function = program.functions[index];
    for (int32_t launch = 0; launch < function.launch_count; launch++) {
      if (!launch_fits(program, function.launches[launch])) return "a launch lies outside its tables";
      if (!parts_fit(program, function.launches[launch], function.read_count)) return "a launch is cut wrongly";
    }
    if (!reads_fit(program, function)) return "a read lies outside its tensor or the arena";
    for (int32_t output = 0; output < function.output_count; output++) {
      if (!place_fits(program, function.outputs[output].place, function.outputs[output].bytes)) {
        return "an output lies outside its space";
      }
    }
  }
  return nullptr;
}

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
  layout.reader = take(static_cast<int64_t>(sizeof(Reader)));
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
