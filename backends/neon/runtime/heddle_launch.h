// A session and how one function of it is launched: kernel by kernel, part by part, with what moves between memory and storage
// meanwhile. Must not know what any kernel computes, nor what a training step is.
#ifndef HEDDLE_LAUNCH_H
#define HEDDLE_LAUNCH_H

#include "heddle_layout.h"
#include "heddle_table.h"
#include "heddle_text.h"

struct heddle_session {
  const heddle_program* program;
  const heddle_frozen* frozen;
  char* message;
  heddle::Pool* pool;
  heddle::Mover* mover;
  heddle_kernel_profile* profile;
  void** arguments;
  int32_t* sizes;
  unsigned char* spaces[3];  // by heddle_space: arena, state, inputs
  heddle_pause pause;
  void* pause_context;
  int32_t profiling;
  int32_t accumulate;  // functions of a training step, −1 when the program has none
  int32_t measure;
  int32_t apply;
  int32_t advance_tables;   // −1 also where nothing has to be updated before `advance`
  int32_t advance;
  int32_t owes;             // 1 while an update is owed
  int32_t stage;            // of a step that paused
  int32_t running;          // the function that paused, or −1
  int32_t next_launch;      // where it goes on
  int32_t moments;          // of the function that runs, which are over
  int32_t paused_step;      // 1 when it belongs to a step, 2 when to an update that was owed
  int32_t paused_last;      // that step's `last`
  int32_t computed;         // the function whose outputs are in the arena, or −1
  int32_t not_finite;       // value, or −1
  int32_t updating;         // 1 from the begin of a function that updates to its end, and for good when it has none
};

namespace heddle {

inline Text fail(const heddle_session& session) { return Text(session.message, HEDDLE_MESSAGE_BYTES); }

inline void* address_of(const heddle_session& session, const heddle_place& place) {
  // Kernels take one kind of pointer; those of frozen tensors are only read through.
  if (place.space == HEDDLE_IN_CHECKPOINT) return const_cast<void*>(session.frozen[place.offset_or_index].data);
  // Each part has a window instead.
  if (place.space == HEDDLE_IN_STORAGE) return nullptr;
  return session.spaces[place.space] + place.offset_or_index;
}

// Grid points of the iterations begin … end − 1 of a kernel's outermost loop.
inline void run_range(heddle_session& session, const heddle_kernel& kernel, int64_t begin, int64_t end) {
  const int64_t points = kernel.grid(session.sizes) / kernel.outermost;
  if (kernel.phased == 0) {
    run_grid(*session.pool, {kernel.run, session.sizes, session.arguments, begin * points, (end - begin) * points, 1});
    return;
  }
  for (int64_t phase = begin; phase < end; phase++) {
    run_grid(*session.pool, {kernel.run, session.sizes, session.arguments, phase * points, points, 1});
  }
}

// False when something that it waits for could not be moved.
inline bool run_part(heddle_session& session, const heddle_kernel& kernel, const heddle_part& part) {
  if (!transfers_done(*session.mover, part.transfers)) return false;
  for (int32_t index = 0; index < part.window_count; index++) {
    const heddle_window& window = session.program->windows[part.window_begin + index];
    // As if the whole tensor lay there: the part reads nothing outside its window.
    const uintptr_t place = reinterpret_cast<uintptr_t>(session.spaces[HEDDLE_IN_ARENA] + window.offset);
    session.arguments[window.argument] = reinterpret_cast<void*>(place - static_cast<uintptr_t>(window.from));
  }
  run_range(session, kernel, part.begin, part.end);
  return true;
}

inline int32_t storage_failed(heddle_session& session) {
  session.running = -1;
  session.next_launch = 0;
  fail(session) << session.mover->message;
  return HEDDLE_STORAGE_FAILED;
}

inline int32_t run_launch(heddle_session& session, const heddle_launch& launch) {
  const heddle_program& program = *session.program;
  const heddle_kernel& kernel = program.kernels[launch.kernel];
  for (int32_t argument = 0; argument < kernel.argument_count; argument++) {
    session.arguments[argument] = address_of(session, program.arguments[launch.argument_begin + argument]);
  }
  heddle_kernel_profile& profile = session.profile[launch.kernel];
  const double begin = session.profiling != 0 ? now_microseconds() : 0.0;
  if (launch.part_count == 0) {
    if (!transfers_done(*session.mover, launch.transfers)) return storage_failed(session);
    run_range(session, kernel, 0, kernel.outermost);
    moment_over(*session.mover, ++session.moments);
  }
  for (int32_t index = 0; index < launch.part_count; index++) {
    if (!run_part(session, kernel, program.parts[launch.part_begin + index])) return storage_failed(session);
    moment_over(*session.mover, ++session.moments);
  }
  if (session.profiling != 0) profile.microseconds += now_microseconds() - begin;
  profile.launches++;
  return HEDDLE_OK;
}

// Whether every id by which a function fetches or moves rows names one; ids were given by the caller.
inline bool ids_known(heddle_session& session, const heddle_function& function) {
  const heddle_program& program = *session.program;
  const auto known = [&session, &program](const heddle_place& ids, int64_t count, const heddle_place& tensor, int64_t row_bytes) {
    return rows_known(static_cast<const int32_t*>(address_of(session, ids)), count, tensor_bytes(program, tensor) / row_bytes, fail(session));
  };
  for (int32_t index = 0; index < function.rows_count; index++) {
    const heddle_rows& rows = function.rows[index];
    if (!known(rows.ids, rows.count, rows.tensor, rows.row_bytes)) return false;
  }
  for (int32_t index = 0; index < function.transfer_count; index++) {
    const heddle_transfer& transfer = function.transfers[index];
    if (transfer.named < 0) continue;
    const heddle_named& named = function.named[transfer.named];
    if (!known(named.ids, named.count, transfer.tensor, named.row_bytes)) return false;
  }
  return true;
}

// Fills what a function reads of rows before its first launch.
inline bool fetch_rows(heddle_session& session, const heddle_rows& rows) {
  Mover& mover = *session.mover;
  const heddle_storage& storage = mover.storage;
  const int32_t tensor = storage_number(*session.program, rows.tensor);
  const int32_t* ids = static_cast<const int32_t*>(address_of(session, rows.ids));
  unsigned char* to = static_cast<unsigned char*>(address_of(session, rows.to));
  // The row before once more is not read again.
  const auto is_new = [&](int64_t place) { return place == 0 || ids[place] != ids[place - 1]; };
  const auto ask = [&](const RowRun& run) {
    storage.ask(storage.context, tensor, run.id * rows.row_bytes, run.count * rows.row_bytes, rows.next, 0);
    return true;
  };
  const auto fetch = [&](const RowRun& run) {
    unsigned char* const memory = to + run.place * rows.row_bytes;
    return storage.fetch(storage.context, tensor, run.id * rows.row_bytes, run.count * rows.row_bytes, rows.next, memory, mover.message) == 0;
  };
  if (storage.ask != nullptr) each_run(ids, rows.count, is_new, ask);
  if (!each_run(ids, rows.count, is_new, fetch)) return false;
  for (int64_t place = 1; place < rows.count; place++) {
    if (!is_new(place)) copy(to + place * rows.row_bytes, to + (place - 1) * rows.row_bytes, rows.row_bytes);
  }
  return true;
}

inline void find_firsts(heddle_session& session, const heddle_firsts& firsts) {
  const int32_t* ids = static_cast<const int32_t*>(address_of(session, firsts.ids));
  int32_t* found = reinterpret_cast<int32_t*>(session.spaces[HEDDLE_IN_ARENA] + firsts.firsts);
  for (int32_t place = 0; place < firsts.count; place++) {
    // Ends at the place itself at the latest.
    int32_t first = 0;
    while (ids[first] != ids[place]) first++;
    found[place] = first;
  }
}

// What a function needs before its first launch, and the begin of what it moves meanwhile.
inline int32_t begin_function(heddle_session& session, const heddle_function& function) {
  Mover& mover = *session.mover;
  session.moments = 0;
  if (!ids_known(session, function)) {
    session.running = -1;
    return HEDDLE_INVALID;
  }
  for (int32_t index = 0; index < function.rows_count; index++) {
    if (!fetch_rows(session, function.rows[index])) return storage_failed(session);
  }
  for (int32_t index = 0; index < function.firsts_count; index++) find_firsts(session, function.firsts[index]);
  if ((function.updates & HEDDLE_BEGINS) != 0) {
    session.updating = 1;
    if (mover.storage.begin_update(mover.storage.context, mover.message) != 0) return storage_failed(session);
  }
  begin_transfers(mover, function);
  return HEDDLE_OK;
}

// What a function has moved must have arrived, and what it has updated stand, before anything else may count on it.
inline int32_t end_function(heddle_session& session, const heddle_function& function) {
  Mover& mover = *session.mover;
  if (!transfers_done(mover, function.transfer_count)) return storage_failed(session);
  if ((function.updates & HEDDLE_ENDS) == 0) return HEDDLE_OK;
  const heddle_storage& storage = mover.storage;
  if (storage.end_update(storage.context, mover.message) != 0) return storage_failed(session);
  session.updating = 0;
  return HEDDLE_OK;
}

}  // namespace heddle

#endif
