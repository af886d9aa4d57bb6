// The session behind the C ABI: one block of memory, the functions of one program, training steps that can pause between
// kernels. Included after the emitted program, in the same translation unit. Must not know what any kernel computes.
#ifndef HEDDLE_RUNTIME_H
#define HEDDLE_RUNTIME_H

#include "heddle_launch.h"

namespace heddle {

// Runs, or goes on with, a function whose sizes are in the session.
inline int32_t run_function(heddle_session& session, int32_t index) {
  const heddle_function& function = session.program->functions[index];
  int32_t launch = session.running == index ? session.next_launch : 0;
  session.running = index;
  session.computed = -1;
  if (launch == 0) {
    const int32_t code = begin_function(session, function);
    if (code != HEDDLE_OK) return code;
  }
  while (launch < function.launch_count) {
    const int32_t code = run_launch(session, function.launches[launch++]);
    if (code != HEDDLE_OK) return code;
    // Asked after a launch, so that every call moves on even when the answer is always yes.
    if (launch < function.launch_count && session.pause != nullptr && session.pause(session.pause_context) != 0) {
      session.next_launch = launch;
      return HEDDLE_PAUSED;
    }
  }
  const int32_t code = end_function(session, function);
  if (code != HEDDLE_OK) return code;
  session.running = -1;
  session.next_launch = 0;
  session.computed = index;
  return HEDDLE_OK;
}

inline int32_t check_sizes(heddle_session& session, const int32_t* sizes) {
  const heddle_program& program = *session.program;
  for (int32_t index = 0; index < program.size_count; index++) {
    const heddle_size& size = program.sizes[index];
    if (sizes[index] < 1 || sizes[index] > size.bound) {
      fail(session) << "size '" << size.name << "' is " << int64_t{sizes[index]} << "; it may be 1 to " << int64_t{size.bound};
      return HEDDLE_INVALID;
    }
  }
  return HEDDLE_OK;
}

// Takes the sizes of a new call, or checks that a paused one is called again as it was.
inline int32_t enter(heddle_session& session, int32_t function, const int32_t* sizes, int32_t step, int32_t last) {
  if (session.running < 0 && session.updating != 0) {
    fail(session) << "an update was begun and never finished: what is in memory is neither old nor new, and the version that "
                     "stands is in storage";
    return HEDDLE_INVALID;
  }
  if (session.running < 0) {
    const int32_t code = check_sizes(session, sizes);
    if (code != HEDDLE_OK) return code;
    for (int32_t index = 0; index < session.program->size_count; index++) session.sizes[index] = sizes[index];
    session.paused_step = step;
    session.paused_last = last;
    session.stage = 0;
    return HEDDLE_OK;
  }
  bool same = session.paused_step == step && session.paused_last == last && (step != 0 || session.running == function);
  for (int32_t index = 0; index < session.program->size_count; index++) same = same && session.sizes[index] == sizes[index];
  if (same) return HEDDLE_OK;
  fail(session) << "a paused call of '" << session.program->functions[session.running].name
                << "' must be finished with the same arguments first";
  return HEDDLE_INVALID;
}

inline bool finite(float number) {
  // By bits, so that no compiler flag can assume it away.
  union {
    float number;
    uint32_t bits;
  } pun;
  pun.number = number;
  return (pun.bits & 0x7f800000u) != 0x7f800000u;
}

// What `measure` leaves behind about a step: scalars that must be finite before anything is updated.
inline bool is_vital(const heddle_value& value) {
  if (value.dtype != HEDDLE_F32 || value.place.space != HEDDLE_IN_STATE || value.bytes != 4) return false;
  return same_text(value.name, "report/loss") || same_text(value.name, "report/gradient_norm") ||
         starts_with(value.name, "norm2/");
}

inline int32_t check_finite(heddle_session& session) {
  const heddle_program& program = *session.program;
  // The loss first: when it is not finite, neither is any norm, and they say less. The total of the norms comes last.
  for (int32_t pass = 0; pass < 3; pass++) {
    for (int32_t index = 0; index < program.value_count; index++) {
      const heddle_value& value = program.values[index];
      if (!is_vital(value)) continue;
      const int32_t wanted = same_text(value.name, "report/loss") ? 0 : starts_with(value.name, "norm2/") ? 1 : 2;
      if (wanted != pass || finite(*static_cast<const float*>(address_of(session, value.place)))) continue;
      session.not_finite = index;
      fail(session) << "'" << value.name << "' is not finite; nothing was updated";
      return HEDDLE_NOT_FINITE;
    }
  }
  return HEDDLE_OK;
}

// The function of a step that comes next, from the session's stage on, which moves there; −1 behind the last one.
inline int32_t next_stage(heddle_session& session, int32_t last) {
  for (; session.stage < 4; session.stage++) {
    const int32_t forward = session.owes != 0 ? session.advance : last == HEDDLE_END ? -1 : session.accumulate;
    const int32_t update = last == HEDDLE_LAST || last == HEDDLE_END ? session.apply : -1;
    const int32_t stages[4] = {session.owes != 0 ? session.advance_tables : -1, forward, last != HEDDLE_MORE ? session.measure : -1, update};
    if (stages[session.stage] >= 0) return stages[session.stage];
  }
  return -1;
}

inline int32_t check_config(const heddle_config& config) {
  Text message(config.message, HEDDLE_MESSAGE_BYTES);
  if (const char* fault = table_fault(*config.program)) {
    message << fault;
    return HEDDLE_INVALID;
  }
  if (config.threads < 1 || config.threads > HEDDLE_MOST_THREADS) {
    message << "the number of threads may be 1 to " << int64_t{HEDDLE_MOST_THREADS} << ", not " << int64_t{config.threads};
    return HEDDLE_INVALID;
  }
  if (config.memory_bytes < heddle_memory_bytes(config.program, config.threads)) {
    message << "the memory given is " << config.memory_bytes << " bytes; the session needs "
            << heddle_memory_bytes(config.program, config.threads);
    return HEDDLE_INVALID;
  }
  if (reinterpret_cast<uintptr_t>(config.memory) % HEDDLE_ALIGNMENT != 0) {
    message << "the memory given is not aligned to " << int64_t{HEDDLE_ALIGNMENT} << " bytes";
    return HEDDLE_INVALID;
  }
  if (config.frozen_count != config.program->checkpoint_count) {
    message << "the program reads " << int64_t{config.program->checkpoint_count} << " frozen tensors; "
            << int64_t{config.frozen_count} << " were given";
    return HEDDLE_INVALID;
  }
  for (int32_t index = 0; index < config.program->value_count; index++) {
    const heddle_value& value = config.program->values[index];
    if (value.place.space != HEDDLE_IN_CHECKPOINT) continue;
    const heddle_frozen& frozen = config.frozen[value.place.offset_or_index];
    if ((frozen.data != nullptr) == (value.streamed == 0) && frozen.bytes == value.bytes) continue;
    message << "frozen tensor '" << value.name << "' has " << frozen.bytes << " bytes; the program reads " << value.bytes;
    return HEDDLE_INVALID;
  }
  return HEDDLE_OK;
}

inline bool streams(const heddle_program& program) {
  for (int32_t index = 0; index < program.function_count; index++) {
    const heddle_function& function = program.functions[index];
    if (function.transfer_count > 0 || function.rows_count > 0 || function.updates != 0) return true;
  }
  return false;
}

inline int32_t start_threads(heddle_session& session) {
  if (streams(*session.program)) {
    const heddle_storage& storage = session.mover->storage;
    const bool whole = storage.store != nullptr && storage.begin_update != nullptr && storage.end_update != nullptr;
    if (storage.fetch == nullptr || (session.program->stored_count > 0 && !whole)) {
      fail(session) << "the program has tensors in storage while it runs, and nothing was given to reach them with";
      return HEDDLE_INVALID;
    }
    if (!start_mover(*session.mover)) {
      fail(session) << "the system would not start the thread that reads and writes storage";
      return HEDDLE_REFUSED;
    }
  }
#if !defined(HEDDLE_WASM)
  // In wasm the driver's workers enter through heddle_wasm_help.
  Pool& pool = *session.pool;
  for (int32_t helper = 1; helper < pool.threads; helper++) {
    const int error = pthread_create(&pool.handles[helper], nullptr, helper_main, &pool);
    if (error == 0) continue;
    fail(session) << "the system would not start thread " << int64_t{helper + 1} << " of " << int64_t{pool.threads};
    stop_pool(pool, helper);
    stop_mover(*session.mover);
    return HEDDLE_REFUSED;
  }
#endif
  return HEDDLE_OK;
}

}  // namespace heddle

extern "C" {

int64_t heddle_memory_bytes(const heddle_program* program, int32_t threads) {
  if (threads < 1 || threads > HEDDLE_MOST_THREADS || heddle::table_fault(*program) != nullptr) return -1;
  return heddle::lay_out(*program, sizeof(heddle_session), threads).total;
}

int32_t heddle_open(const heddle_config* config, heddle_session** opened) {
  *opened = nullptr;
  const int32_t code = heddle::check_config(*config);
  if (code != HEDDLE_OK) return code;
  const heddle_program& program = *config->program;
  const heddle::Layout layout = heddle::lay_out(program, sizeof(heddle_session), config->threads);
  unsigned char* memory = static_cast<unsigned char*>(config->memory);
  heddle_session* session = reinterpret_cast<heddle_session*>(memory);
  session->program = config->program;
  session->frozen = config->frozen;
  session->message = config->message;
  session->pool = reinterpret_cast<heddle::Pool*>(memory + layout.pool);
  session->mover = reinterpret_cast<heddle::Mover*>(memory + layout.mover);
  session->mover->program = config->program;
  session->mover->spaces = session->spaces;
  session->mover->storage = config->storage;
  session->profile = reinterpret_cast<heddle_kernel_profile*>(memory + layout.profile);
  session->arguments = reinterpret_cast<void**>(memory + layout.arguments);
  session->sizes = reinterpret_cast<int32_t*>(memory + layout.sizes);
  session->spaces[HEDDLE_IN_ARENA] = memory + layout.arena;
  session->spaces[HEDDLE_IN_STATE] = memory + layout.state;
  session->spaces[HEDDLE_IN_INPUTS] = memory + layout.inputs;
  session->profiling = config->profile;
  session->accumulate = heddle_find_function(session, "accumulate");
  session->measure = heddle_find_function(session, "measure");
  session->apply = heddle_find_function(session, "apply");
  session->advance_tables = heddle_find_function(session, "advanceTables");
  session->advance = heddle_find_function(session, "advance");
  session->running = -1;
  session->computed = -1;
  session->not_finite = -1;
  session->pool->threads = config->threads;
  session->pool->scratch = memory + layout.scratch;
  session->pool->scratch_stride = layout.scratch_stride;
  const int32_t started = heddle::start_threads(*session);
  if (started == HEDDLE_OK) *opened = session;
  return started;
}

int32_t heddle_value_view(heddle_session* session, const char* name, heddle_view* view) {
  const heddle_program& program = *session->program;
  for (int32_t index = 0; index < program.value_count; index++) {
    const heddle_value& value = program.values[index];
    if (value.place.space == HEDDLE_IN_CHECKPOINT || !heddle::same_text(value.name, name)) continue;
    if (value.place.space == HEDDLE_IN_STORAGE) {
      heddle::fail(*session) << "'" << name << "' is in storage: it lies nowhere in memory";
      return HEDDLE_INVALID;
    }
    *view = {heddle::address_of(*session, value.place), value.bytes, value.dtype};
    return HEDDLE_OK;
  }
  heddle::fail(*session) << "the program has no state or input '" << name << "'";
  return HEDDLE_INVALID;
}

int32_t heddle_output_view(heddle_session* session, const char* function, const char* name, heddle_view* view) {
  const int32_t index = heddle_find_function(session, function);
  if (index < 0 || session->computed != index) {
    heddle::fail(*session) << "the last finished call was not of '" << function << "'";
    return HEDDLE_INVALID;
  }
  const heddle_function& computed = session->program->functions[index];
  for (int32_t output = 0; output < computed.output_count; output++) {
    const heddle_output& found = computed.outputs[output];
    if (!heddle::same_text(found.name, name)) continue;
    *view = {heddle::address_of(*session, found.place), found.bytes, found.dtype};
    return HEDDLE_OK;
  }
  heddle::fail(*session) << "function '" << function << "' has no output '" << name << "'";
  return HEDDLE_INVALID;
}

int32_t heddle_find_function(const heddle_session* session, const char* name) {
  for (int32_t index = 0; index < session->program->function_count; index++) {
    if (heddle::same_text(session->program->functions[index].name, name)) return index;
  }
  return -1;
}

int32_t heddle_call(heddle_session* session, int32_t function, const int32_t* sizes) {
  if (function < 0 || function >= session->program->function_count) {
    heddle::fail(*session) << "the program has no such function";
    return HEDDLE_INVALID;
  }
  if (session->owes != 0) {
    heddle::fail(*session) << "an update is owed: heddle_settle comes first";
    return HEDDLE_INVALID;
  }
  const int32_t code = heddle::enter(*session, function, sizes, 0, 0);
  return code != HEDDLE_OK ? code : heddle::run_function(*session, function);
}

int32_t heddle_step(heddle_session* session, const int32_t* sizes, int32_t last) {
  if (session->accumulate < 0 || session->measure < 0 || session->apply < 0) {
    heddle::fail(*session) << "the program cannot train: it lacks accumulate, measure or apply";
    return HEDDLE_INVALID;
  }
  const bool ends = last >= HEDDLE_MORE && last <= HEDDLE_END;
  if (!ends || (last == HEDDLE_LATER && session->advance < 0) || (last == HEDDLE_END && session->owes != 0)) {
    heddle::fail(*session) << "this program cannot end a step so";
    return HEDDLE_INVALID;
  }
  int32_t code = heddle::enter(*session, session->accumulate, sizes, 1, last);
  if (code != HEDDLE_OK) return code;
  session->not_finite = -1;
  int32_t function = heddle::next_stage(*session, last);
  while (function >= 0) {
    code = heddle::run_function(*session, function);
    if (code != HEDDLE_OK) return code;
    if (function == session->advance) session->owes = 0;
    if (function == session->measure) code = heddle::check_finite(*session);
    if (code != HEDDLE_OK) return code;
    session->stage++;
    function = heddle::next_stage(*session, last);
    // The boundary between two functions is one between kernels as well.
    if (function >= 0 && session->pause != nullptr && session->pause(session->pause_context) != 0) {
      session->running = function;
      return HEDDLE_PAUSED;
    }
  }
  if (last == HEDDLE_LATER) session->owes = 1;
  return HEDDLE_OK;
}

int32_t heddle_settle(heddle_session* session) {
  if (session->owes == 0) return HEDDLE_OK;
  if (session->running >= 0 && session->paused_step != 2) {
    heddle::fail(*session) << "a paused call must be finished first";
    return HEDDLE_INVALID;
  }
  session->paused_step = 2;
  const int32_t code = heddle::run_function(*session, session->apply);
  if (code == HEDDLE_OK) session->owes = 0;
  return code;
}

void heddle_abandon(heddle_session* session) {
  heddle::cancel_transfers(*session->mover);
  session->running = -1;
  session->next_launch = 0;
  session->stage = 0;
}

int32_t heddle_updating(const heddle_session* session) {
  const int32_t running = session->running;
  const bool updates = running == session->apply || running == session->advance_tables || running == session->advance;
  return running >= 0 && updates && session->paused_step != 0 ? 1 : 0;
}

const char* heddle_not_finite(const heddle_session* session) {
  return session->not_finite < 0 ? nullptr : session->program->values[session->not_finite].name;
}

void heddle_set_pause(heddle_session* session, heddle_pause pause, void* context) {
  session->pause = pause;
  session->pause_context = context;
}

const heddle_kernel_profile* heddle_profile(const heddle_session* session) { return session->profile; }

void heddle_close(heddle_session* session) {
  if (session == nullptr) return;
  heddle::stop_mover(*session->mover);
  heddle::stop_pool(*session->pool, session->pool->threads);
}

}  // extern "C"

#endif
