// A session and how one function of it is launched: kernel by kernel, part by part, with what it reads of frozen tensors
// meanwhile. Must not know what any kernel computes, nor what a training step is.
#ifndef HEDDLE_LAUNCH_H
#define HEDDLE_LAUNCH_H

#include "heddle_layout.h"
#include "heddle_text.h"

struct heddle_session {
  const heddle_program* program;
  const heddle_frozen* frozen;
  char* message;
  heddle::Pool* pool;
  heddle::Reader* reader;
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
  int32_t stage;            // of a step that paused: 0 accumulate, 1 measure, 2 apply
  int32_t running;          // the function that paused, or −1
  int32_t next_launch;      // where it goes on
  int32_t moments;          // of the function that runs, which are over
  int32_t paused_step;      // 1 when it belongs to a step
  int32_t paused_last;      // that step's `last`
  int32_t computed;         // the function whose outputs are in the arena, or −1
  int32_t not_finite;       // value, or −1
};

namespace heddle {

inline Text fail(const heddle_session& session) { return Text(session.message, HEDDLE_MESSAGE_BYTES); }

inline void* address_of(const heddle_session& session, const heddle_place& place) {
  // Kernels take one kind of pointer; those of frozen tensors are only read through.
  if (place.space == HEDDLE_IN_CHECKPOINT) return const_cast<void*>(session.frozen[place.offset_or_index].data);
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

// False when something that it needs could not be read.
inline bool run_part(heddle_session& session, const heddle_kernel& kernel, const heddle_part& part) {
  if (!reads_done(*session.reader, part.reads)) return false;
  for (int32_t index = 0; index < part.window_count; index++) {
    const heddle_window& window = session.program->windows[part.window_begin + index];
    // As if the whole tensor lay there: the part reads nothing outside its window.
    const uintptr_t place = reinterpret_cast<uintptr_t>(session.spaces[HEDDLE_IN_ARENA] + window.offset);
    session.arguments[window.argument] = reinterpret_cast<void*>(place - static_cast<uintptr_t>(window.from));
  }
  run_range(session, kernel, part.begin, part.end);
  return true;
}

inline int32_t unreadable(heddle_session& session) {
  session.running = -1;
  session.next_launch = 0;
  fail(session) << session.reader->message;
  return HEDDLE_UNREADABLE;
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
    run_range(session, kernel, 0, kernel.outermost);
    moment_over(*session.reader, ++session.moments);
  }
  for (int32_t index = 0; index < launch.part_count; index++) {
    if (!run_part(session, kernel, program.parts[launch.part_begin + index])) return unreadable(session);
    moment_over(*session.reader, ++session.moments);
  }
  if (session.profiling != 0) profile.microseconds += now_microseconds() - begin;
  profile.launches++;
  return HEDDLE_OK;
}

// Fills what a function reads of rows; ids were given by the caller.
inline int32_t fetch_rows(heddle_session& session, const heddle_rows& rows) {
  Reader& reader = *session.reader;
  const int32_t* ids = static_cast<const int32_t*>(address_of(session, rows.ids));
  unsigned char* to = static_cast<unsigned char*>(address_of(session, rows.to));
  const int64_t known = tensor_bytes(*session.program, rows.tensor) / rows.row_bytes;
  for (int64_t index = 0; index < rows.count; index++, to += rows.row_bytes) {
    const int64_t id = ids[index];
    if (id < 0 || id >= known) {
      session.running = -1;
      fail(session) << "there is no row " << id << "; ids go from 0 to " << known - 1;
      return HEDDLE_INVALID;
    }
    if (index > 0 && id == ids[index - 1]) {
      copy(to, to - rows.row_bytes, rows.row_bytes);
    } else if (reader.fetch(reader.context, rows.tensor, id * rows.row_bytes, rows.row_bytes, to, reader.message) != 0) {
      return unreadable(session);
    }
  }
  return HEDDLE_OK;
}

// What a function needs before its first launch, and the begin of what it reads meanwhile.
inline int32_t begin_function(heddle_session& session, const heddle_function& function) {
  session.moments = 0;
  for (int32_t index = 0; index < function.rows_count; index++) {
    const int32_t code = fetch_rows(session, function.rows[index]);
    if (code != HEDDLE_OK) return code;
  }
  begin_reads(*session.reader, function.reads, function.read_count);
  return HEDDLE_OK;
}

}  // namespace heddle

#endif
