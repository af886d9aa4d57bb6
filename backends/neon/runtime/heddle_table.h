// Checks a program table before anything trusts it: whatever lies in one of its spaces lies inside, whatever waits is waited
// for by nothing that comes before it. Knows no session and runs nothing.
#ifndef HEDDLE_TABLE_H
#define HEDDLE_TABLE_H

#include "heddle_transfers.h"

namespace heddle {

// More than any machine has, and small enough that no sum below overflows.
constexpr int64_t most_bytes = int64_t{1} << 48;

inline bool plausible(int64_t bytes) { return bytes >= 0 && bytes <= most_bytes; }

inline bool in_memory(int32_t space) {
  return space == HEDDLE_IN_ARENA || space == HEDDLE_IN_STATE || space == HEDDLE_IN_INPUTS;
}

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
  const int64_t offset = place.offset_or_index;
  if (place.space == HEDDLE_IN_CHECKPOINT) return offset >= 0 && offset < program.checkpoint_count;
  if (place.space == HEDDLE_IN_STORAGE) return offset >= 0 && offset < program.stored_count;
  const int64_t space = space_bytes(program, place.space);
  return offset >= 0 && offset % HEDDLE_ALIGNMENT == 0 && bytes >= 0 && offset <= space && bytes <= space - offset;
}

inline bool in_arena(const heddle_program& program, int64_t offset, int64_t bytes) {
  return offset >= 0 && bytes >= 0 && bytes <= program.arena_bytes && offset <= program.arena_bytes - bytes;
}

inline bool has_versions(const heddle_program& program, const heddle_place& tensor) {
  for (int32_t index = 0; index < program.value_count; index++) {
    const heddle_value& value = program.values[index];
    if (value.place.space == tensor.space && value.place.offset_or_index == tensor.offset_or_index) return value.versions != 0;
  }
  return false;
}

// Whether values lie inside their spaces, and every place in storage is that of one value.
inline bool values_fit(const heddle_program& program) {
  int64_t stored = 0;
  int64_t stored_bytes = program.carried_bytes;
  for (int32_t index = 0; index < program.value_count; index++) {
    const heddle_value& value = program.values[index];
    if (!place_fits(program, value.place, value.bytes)) return false;
    if (in_memory(value.place.space) && value.streamed != 0) return false;
    if (value.place.space != HEDDLE_IN_STORAGE) {
      if (value.versions != 0) return false;
      continue;
    }
    if (value.streamed == 0 || (value.role != HEDDLE_TRAINABLE && value.role != HEDDLE_STATE)) return false;
    if (value.bytes < 1 || value.bytes > most_bytes) return false;
    stored++;
    stored_bytes += value.bytes;
    // What is kept of them twice, each at a block of its own, must be a number that a file can have.
    if (stored_bytes > most_bytes) return false;
  }
  for (int32_t index = 0; index < program.stored_count; index++) {
    if (tensor_bytes(program, {HEDDLE_IN_STORAGE, index}) < 0) return false;
  }
  return stored == program.stored_count;
}

// Whether whoever waits at this moment for so many transfers is waited for by none of them.
inline bool wait_ends(const heddle_function& function, int32_t transfers, int64_t moment) {
  if (transfers < 0 || transfers > function.transfer_count) return false;
  return transfers == 0 || function.transfers[transfers - 1].after <= moment;
}

// Whether a part has a window on an argument.
inline bool has_window(const heddle_program& program, const heddle_part& part, int64_t argument) {
  for (int32_t window = 0; window < part.window_count; window++) {
    if (program.windows[part.window_begin + window].argument == argument) return true;
  }
  return false;
}

inline bool windows_fit(const heddle_program& program, const heddle_launch& launch, const heddle_part& part) {
  const heddle_kernel& kernel = program.kernels[launch.kernel];
  if (part.window_begin < 0 || part.window_count < 0 || part.window_count > program.window_count - part.window_begin) return false;
  for (int32_t index = 0; index < part.window_count; index++) {
    const heddle_window& window = program.windows[part.window_begin + index];
    if (window.argument < 0 || window.argument >= kernel.argument_count) return false;
    const heddle_place& place = program.arguments[launch.argument_begin + window.argument];
    if (in_memory(place.space) || window.from < 0 || window.from > most_bytes) return false;
    if (window.offset < 0 || window.offset > program.arena_bytes) return false;
  }
  // A value in storage is nowhere else.
  for (int32_t argument = 0; argument < kernel.argument_count; argument++) {
    const bool stored = program.arguments[launch.argument_begin + argument].space == HEDDLE_IN_STORAGE;
    if (stored && !has_window(program, part, argument)) return false;
  }
  return true;
}

// Whether a launch's arguments are places.
inline bool arguments_fit(const heddle_program& program, const heddle_launch& launch) {
  if (launch.kernel < 0 || launch.kernel >= program.kernel_count) return false;
  const int64_t count = program.kernels[launch.kernel].argument_count;
  if (count < 0 || count > program.most_arguments || launch.argument_begin < 0) return false;
  if (launch.argument_begin + count > program.argument_count) return false;
  for (int64_t argument = 0; argument < count; argument++) {
    const heddle_place& place = program.arguments[launch.argument_begin + argument];
    if (!place_fits(program, place, 0)) return false;
    if (place.space == HEDDLE_IN_STORAGE && launch.part_count == 0) return false;
  }
  return true;
}

// Whether the parts of a launch are all its iterations in order, and what it waits for comes. `moment`: moments before it.
inline bool parts_fit(const heddle_program& program, const heddle_function& function, const heddle_launch& launch, int64_t moment) {
  if (!wait_ends(function, launch.transfers, moment)) return false;
  if (launch.part_count == 0) return true;
  if (launch.part_begin < 0 || launch.part_count < 0 || launch.part_count > program.part_count - launch.part_begin) return false;
  int64_t next = 0;
  for (int32_t index = 0; index < launch.part_count; index++) {
    const heddle_part& part = program.parts[launch.part_begin + index];
    if (part.begin != next || part.end <= part.begin || !wait_ends(function, part.transfers, moment + index)) return false;
    if (!windows_fit(program, launch, part)) return false;
    next = part.end;
  }
  return next == program.kernels[launch.kernel].outermost;
}

// Whether there are ids where a function begins, and room for their first occurrences.
inline bool ids_fit(const heddle_program& program, const heddle_place& ids, int64_t count) {
  if (ids.space != HEDDLE_IN_STATE && ids.space != HEDDLE_IN_INPUTS) return false;
  return count > 0 && count <= INT32_MAX && place_fits(program, ids, count * 4);
}

inline bool firsts_fit(const heddle_program& program, const heddle_function& function) {
  for (int32_t index = 0; index < function.firsts_count; index++) {
    const heddle_firsts& firsts = function.firsts[index];
    if (!ids_fit(program, firsts.ids, firsts.count)) return false;
    if (!place_fits(program, {HEDDLE_IN_ARENA, firsts.firsts}, firsts.count * 4)) return false;
  }
  return true;
}

// Whether the first occurrences that named rows go by are worked out.
inline bool named_fits(const heddle_program& program, const heddle_function& function, const heddle_named& named) {
  if (!ids_fit(program, named.ids, named.count) || named.row_bytes <= 0 || named.row_bytes > most_bytes / named.count) return false;
  for (int32_t index = 0; index < function.firsts_count; index++) {
    const heddle_firsts& firsts = function.firsts[index];
    if (firsts.ids.space == named.ids.space && firsts.ids.offset_or_index == named.ids.offset_or_index &&
        firsts.firsts == named.firsts && firsts.count == named.count) {
      return true;
    }
  }
  return false;
}

// What is kept is of the state, for the version that the function's update ends with.
inline bool keep_fits(const heddle_program& program, const heddle_function& function, const heddle_transfer& transfer) {
  if ((function.updates & HEDDLE_ENDS) == 0 || transfer.named != -1) return false;
  if (transfer.tensor.space != HEDDLE_IN_STATE || transfer.tensor.offset_or_index != 0 || transfer.offset != 0) return false;
  return transfer.bytes > 0 && transfer.bytes <= program.carried_bytes && transfer.from >= 0 && transfer.from <= program.carried_bytes - transfer.bytes;
}

inline bool transfer_fits(const heddle_program& program, const heddle_function& function, const heddle_transfer& transfer) {
  const int64_t tensor = tensor_bytes(program, transfer.tensor);
  const bool writes = transfer.kind == HEDDLE_WRITE;
  if (transfer.kind == HEDDLE_KEEP) return keep_fits(program, function, transfer);
  if (tensor < 0 || transfer.kind < HEDDLE_READ || transfer.kind > HEDDLE_READ_NEXT) return false;
  if (transfer.kind != HEDDLE_READ && transfer.tensor.space != HEDDLE_IN_STORAGE) return false;
  // What stands is overwritten by an update only, which writes all of it; there is a next version only meanwhile.
  const bool versions = has_versions(program, transfer.tensor);
  if (writes && versions && (function.updates == 0 || transfer.named >= 0)) return false;
  if (transfer.kind == HEDDLE_READ_NEXT && (function.updates == 0 || !versions)) return false;
  if (transfer.bytes <= 0 || !in_arena(program, transfer.offset, transfer.bytes)) return false;
  if (transfer.named < 0) return transfer.named == -1 && transfer.from >= 0 && transfer.bytes <= tensor && transfer.from <= tensor - transfer.bytes;
  if (transfer.named >= function.named_count) return false;
  const heddle_named& named = function.named[transfer.named];
  return named_fits(program, function, named) && transfer.from == 0 && transfer.bytes == named.count * named.row_bytes &&
         named.row_bytes <= tensor;
}

// Whether transfers stay inside their tensors and the arena, in an order that can be kept within so many moments.
inline bool transfers_fit(const heddle_program& program, const heddle_function& function, int64_t moments) {
  int32_t after = 0;
  for (int32_t index = 0; index < function.transfer_count; index++) {
    const heddle_transfer& transfer = function.transfers[index];
    if (!transfer_fits(program, function, transfer) || transfer.after < after || transfer.after > moments) return false;
    after = transfer.after;
  }
  for (int32_t index = 0; index < function.rows_count; index++) {
    const heddle_rows& rows = function.rows[index];
    // The other half of an update has written them.
    if (rows.next != 0 && (function.updates != HEDDLE_ENDS || !has_versions(program, rows.tensor))) return false;
    if (!ids_fit(program, rows.ids, rows.count) || rows.row_bytes <= 0 || rows.row_bytes > most_bytes / rows.count ||
        rows.row_bytes > tensor_bytes(program, rows.tensor) || !in_memory(rows.to.space) ||
        !place_fits(program, rows.to, rows.count * rows.row_bytes)) {
      return false;
    }
  }
  return true;
}

// Bytes of a stored value that a function writes.
inline int64_t written_bytes(const heddle_function& function, const heddle_value& value) {
  int64_t bytes = 0;
  for (int32_t index = 0; index < function.transfer_count; index++) {
    const heddle_transfer& transfer = function.transfers[index];
    const bool writes = transfer.kind == HEDDLE_WRITE && transfer.tensor.space == HEDDLE_IN_STORAGE;
    if (writes && transfer.tensor.offset_or_index == value.place.offset_or_index) bytes += transfer.bytes;
  }
  return bytes;
}

// Whether a function keeps every byte of what is carried over once.
inline bool keeps_all(const heddle_program& program, const heddle_function& function) {
  int64_t bytes = 0;
  for (int32_t index = 0; index < function.transfer_count; index++) {
    const heddle_transfer& transfer = function.transfers[index];
    if (transfer.kind != HEDDLE_KEEP) continue;
    bytes += transfer.bytes;
    for (int32_t other = 0; other < index; other++) {
      const heddle_transfer& before = function.transfers[other];
      const bool apart = before.from + before.bytes <= transfer.from || transfer.from + transfer.bytes <= before.from;
      if (before.kind == HEDDLE_KEEP && !apart) return false;
    }
  }
  return bytes == program.carried_bytes;
}

// The function that has one half of an update alone; null where there is none, or more than one.
inline const heddle_function* half_of_update(const heddle_program& program, int32_t half) {
  const heddle_function* found = nullptr;
  for (int32_t index = 0; index < program.function_count; index++) {
    if (program.functions[index].updates != half) continue;
    if (found != nullptr) return nullptr;
    found = &program.functions[index];
  }
  return found;
}

// Whether an update writes as many bytes of every value with versions as it has, and keeps what is carried over: the version that
// follows is whole.
inline bool update_is_whole(const heddle_program& program, const heddle_function& function) {
  if (function.updates < 0 || function.updates > (HEDDLE_BEGINS | HEDDLE_ENDS)) return false;
  if (function.updates == 0) return true;
  // The half that ends it is looked at with the one that begins it.
  if (function.updates == HEDDLE_BEGINS) return half_of_update(program, HEDDLE_ENDS) != nullptr;
  const heddle_function* const beginning = function.updates == HEDDLE_ENDS ? half_of_update(program, HEDDLE_BEGINS) : &function;
  if (beginning == nullptr) return false;
  bool any = false;
  for (int32_t index = 0; index < program.value_count; index++) {
    const heddle_value& value = program.values[index];
    if (value.versions == 0) continue;
    any = true;
    const int64_t before = beginning == &function ? 0 : written_bytes(*beginning, value);
    if (before + written_bytes(function, value) != value.bytes) return false;
  }
  return any && keeps_all(program, function);
}

// Null for a sound function, else what is wrong with it.
inline const char* function_fault(const heddle_program& program, const heddle_function& function) {
  int64_t moments = 0;
  for (int32_t index = 0; index < function.launch_count; index++) {
    const heddle_launch& launch = function.launches[index];
    if (!arguments_fit(program, launch)) return "a launch lies outside its tables";
    if (!parts_fit(program, function, launch, moments)) return "a launch is cut wrongly, or waits for what never comes";
    moments += launch.part_count == 0 ? 1 : launch.part_count;
  }
  if (moments > INT32_MAX) return "a function has too many launches";
  if (!firsts_fit(program, function)) return "first occurrences lie outside of the arena";
  if (!transfers_fit(program, function, moments)) return "a transfer lies outside its tensor or the arena, or its order cannot be kept";
  if (!update_is_whole(program, function)) return "an update does not write every value that has versions once, or keep what is carried over";
  for (int32_t index = 0; index < function.output_count; index++) {
    const heddle_output& output = function.outputs[index];
    if (output.place.space == HEDDLE_IN_STORAGE || !place_fits(program, output.place, output.bytes)) return "an output lies outside its space";
  }
  return nullptr;
}

// Null for a sound table, else what is wrong with it.
inline const char* table_fault(const heddle_program& program) {
  if (program.version != HEDDLE_PROGRAM_VERSION) return "the program was compiled for another version of the run-time";
  if (!plausible(program.arena_bytes) || !plausible(program.state_bytes) || !plausible(program.carried_bytes) || program.carried_bytes > program.state_bytes || !plausible(program.input_bytes) ||
      !plausible(program.scratch_bytes) || program.most_arguments < 0 || program.size_count < 0 ||
      program.size_count > HEDDLE_MOST_SIZES || program.checkpoint_count < 0 || program.stored_count < 0 ||
      program.checkpoint_count > INT32_MAX - program.stored_count) {
    return "the program table has impossible sizes";
  }
  for (int32_t kernel = 0; kernel < program.kernel_count; kernel++) {
    const int64_t scratch = program.kernels[kernel].scratch_bytes;
    if (scratch < 0 || scratch > program.scratch_bytes) return "a kernel wants more scratch than the table allows";
    if (program.kernels[kernel].outermost < 1) return "a kernel has no iterations";
  }
  if (!values_fit(program)) return "a value lies outside its space";
  for (int32_t index = 0; index < program.function_count; index++) {
    if (const char* fault = function_fault(program, program.functions[index])) return fault;
  }
  return nullptr;
}

}  // namespace heddle

#endif
