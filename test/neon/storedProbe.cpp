// Drives the hand-made program with values in storage through the C ABI, with storage of its own that can be slow, fail at a
// given request, and tell what it was asked for. Compiled behind the emitted program; see test/full/transfers.test.ts.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heddle_runtime.h"

namespace {

const heddle_program& table = heddle_program_table;

// Every tensor in memory, those with versions twice.
struct Memory {
  unsigned char* tensors[16][2];
  unsigned char carried[2][1024] = {};  // by version
  int standing = 0;
  bool updating = false;
  bool says = false;
  bool slow = false;
  long fails = -1;  // the request that fails
  long requests = 0;
};

const heddle_value* value_of(int32_t tensor) {
  for (int32_t index = 0; index < table.value_count; index++) {
    const heddle_value& value = table.values[index];
    const bool frozen = value.place.space == HEDDLE_IN_CHECKPOINT && value.place.offset_or_index == tensor;
    const bool stored = value.place.space == HEDDLE_IN_STORAGE && value.place.offset_or_index == tensor - table.checkpoint_count;
    if (frozen || stored) return &value;
  }
  return nullptr;
}

bool request(Memory& memory, const char* kind, const char* name, int64_t from, int64_t bytes, char* message) {
  if (memory.says) printf("%s %s %ld %ld\n", kind, name, static_cast<long>(from), static_cast<long>(bytes));
  // Whatever does not wait for a slow request uses what is not there yet.
  const struct timespec rest = {0, (memory.requests % 5) * 400000};
  if (memory.slow) nanosleep(&rest, nullptr);
  if (memory.requests++ != memory.fails) return true;
  heddle::Text(message, HEDDLE_MESSAGE_BYTES) << "request " << int64_t{memory.fails} << " failed";
  return false;
}

int32_t fetch(void* context, int32_t tensor, int64_t from, int64_t bytes, int32_t next, void* to, char* message) {
  Memory& memory = *static_cast<Memory*>(context);
  const heddle_value& value = *value_of(tensor);
  if (!request(memory, "read", value.name, from, bytes, message)) return 1;
  if (next != 0 && !(value.versions && memory.updating)) abort();
  memcpy(to, memory.tensors[tensor][value.versions ? (next != 0 ? 1 - memory.standing : memory.standing) : 0] + from, static_cast<size_t>(bytes));
  return 0;
}

int32_t store(void* context, int32_t tensor, int64_t from, int64_t bytes, const void* data, char* message) {
  Memory& memory = *static_cast<Memory*>(context);
  if (tensor < 0) {
    if (!request(memory, "write", "carried", from, bytes, message)) return 1;
    if (!memory.updating || from + bytes > table.carried_bytes) abort();
    memcpy(memory.carried[1 - memory.standing] + from, data, static_cast<size_t>(bytes));
    return 0;
  }
  const heddle_value& value = *value_of(tensor);
  if (!request(memory, "write", value.name, from, bytes, message)) return 1;
  if (value.versions && !memory.updating) abort();
  memcpy(memory.tensors[tensor][value.versions ? 1 - memory.standing : 0] + from, data, static_cast<size_t>(bytes));
  return 0;
}

int32_t begin_update(void* context, char* message) {
  Memory& memory = *static_cast<Memory*>(context);
  if (!request(memory, "begin", "update", 0, 0, message)) return 1;
  memory.updating = true;
  return 0;
}

int32_t end_update(void* context, char* message) {
  Memory& memory = *static_cast<Memory*>(context);
  if (!request(memory, "end", "update", 0, 0, message)) return 1;
  memory.updating = false;
  memory.standing = 1 - memory.standing;
  return 0;
}

void ask(void* context, int32_t tensor, int64_t from, int64_t bytes, int32_t, int32_t) {
  const Memory& memory = *static_cast<Memory*>(context);
  if (memory.says) printf("ask %s %ld %ld\n", value_of(tensor)->name, static_cast<long>(from), static_cast<long>(bytes));
}

struct Run {
  Memory memory;
  heddle_frozen frozen[1];
  heddle_session* session = nullptr;
  void* block = nullptr;
  char message[HEDDLE_MESSAGE_BYTES];
  int32_t pause_after = 0;

  explicit Run(int32_t threads) {
    for (int32_t tensor = 0; tensor < table.checkpoint_count + table.stored_count; tensor++) {
      for (auto& copy : memory.tensors[tensor]) {
        copy = static_cast<unsigned char*>(calloc(1, static_cast<size_t>(value_of(tensor)->bytes)));
      }
    }
    frozen[0] = {nullptr, value_of(0)->bytes};
    const int64_t bytes = heddle_memory_bytes(&table, threads);
    block = aligned_alloc(64, static_cast<size_t>(bytes));
    memset(block, 0, static_cast<size_t>(bytes));
    const heddle_config config = {&table, block, bytes, frozen, 1, threads, 0, message, {&memory, fetch, store, begin_update, end_update, ask}};
    if (heddle_open(&config, &session) != HEDDLE_OK) {
      puts(message);
      exit(2);
    }
    heddle_set_pause(session, pause, this);
    int32_t* ids = static_cast<int32_t*>(view("ids").data);
    for (int64_t t = 0; t < view("ids").bytes / 4; t++) ids[t] = static_cast<int32_t>(t * t % 7);
    float* x = static_cast<float*>(view("x").data);
    for (int64_t index = 0; index < view("x").bytes / 4; index++) x[index] = static_cast<float>(index % 5) - 2;
    for (int32_t tensor = 0; tensor < table.checkpoint_count + table.stored_count; tensor++) {
      float* data = reinterpret_cast<float*>(memory.tensors[tensor][0]);
      const bool begins = value_of(tensor)->role != HEDDLE_STATE;
      for (int64_t index = 0; begins && index < value_of(tensor)->bytes / 4; index++) data[index] = static_cast<float>(index % (7 + tensor)) - 3;
    }
  }

  ~Run() {
    heddle_close(session);
    free(block);
    for (int32_t tensor = 0; tensor < table.checkpoint_count + table.stored_count; tensor++) {
      for (auto& copy : memory.tensors[tensor]) free(copy);
    }
  }

  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  heddle_view view(const char* name) {
    heddle_view found = {};
    if (heddle_value_view(session, name, &found) != HEDDLE_OK) puts(message);
    return found;
  }

  static int32_t pause(void* self) {
    Run& run = *static_cast<Run*>(self);
    return run.pause_after > 0 && --run.pause_after == 0;
  }

  int32_t step() { return heddle_step(session, nullptr, 1); }

  // Of all that stands.
  uint64_t hash() {
    uint64_t hash = 14695981039346656037u;
    for (int64_t index = 0; index < table.carried_bytes; index++) hash = (hash ^ memory.carried[memory.standing][index]) * 1099511628211u;
    for (int32_t tensor = table.checkpoint_count; tensor < table.checkpoint_count + table.stored_count; tensor++) {
      const heddle_value& value = *value_of(tensor);
      const unsigned char* data = memory.tensors[tensor][value.versions ? memory.standing : 0];
      for (int64_t index = 0; index < value.bytes; index++) hash = (hash ^ data[index]) * 1099511628211u;
    }
    return hash;
  }
};

void print_steps(int32_t threads, bool slow) {
  Run run(threads);
  run.memory.slow = slow;
  for (int32_t step = 0; step < 3; step++) {
    if (run.step() != HEDDLE_OK) puts(run.message);
  }
  printf("%016lx\n", static_cast<unsigned long>(run.hash()));
}

// What becomes of a step whose request number `fails` fails, and of the step behind it.
void print_failure(long fails) {
  Run run(2);
  run.memory.fails = fails;
  const uint64_t before = run.hash();
  const int32_t code = run.step();
  printf("%d %s ", code, run.memory.updating ? "updating" : "idle");
  if (code == HEDDLE_STORAGE_FAILED) printf("%s, ", run.message);
  printf("%s, ", run.memory.standing == 0 && code != HEDDLE_OK ? "stands" : run.hash() != before ? "new" : "old");
  const int32_t next = run.step();
  printf("%d %s\n", next, next == HEDDLE_INVALID ? run.message : "");
}

// A step that is given up, or a session that is closed, at every pause.
void print_left(bool close) {
  for (int32_t launches = 1;; launches++) {
    Run run(2);
    run.memory.slow = true;
    run.pause_after = launches;
    const int32_t code = run.step();
    if (code != HEDDLE_PAUSED) return;
    const int32_t updating = heddle_updating(run.session);
    if (close) {
      printf("%d %d %d\n", launches, updating, run.memory.standing);
      continue;
    }
    heddle_abandon(run.session);
    const int32_t next = run.step();
    printf("%d %d %d %s\n", launches, updating, next, next == HEDDLE_INVALID ? run.message : "");
  }
}

void print_refusals() {
  Run run(1);
  heddle_view view;
  printf("%d %s\n", heddle_value_view(run.session, "weight", &view), run.message);
  int32_t* ids = static_cast<int32_t*>(run.view("ids").data);
  const int32_t wrong_ids[] = {19, -1, INT32_MAX, INT32_MIN};
  for (const int32_t wrong : wrong_ids) {
    const int32_t right = ids[4];
    ids[4] = wrong;
    const long before = run.memory.requests;
    const int32_t code = run.step();
    printf("%d %s, %ld requests\n", code, run.message, run.memory.requests - before);
    ids[4] = right;
    printf("%d\n", run.step());
  }
  heddle_storage storages[3] = {{&run.memory, nullptr, store, begin_update, end_update, ask},
                                {&run.memory, fetch, nullptr, begin_update, end_update, ask},
                                {&run.memory, fetch, store, begin_update, nullptr, ask}};
  for (const heddle_storage& storage : storages) {
    const int64_t bytes = heddle_memory_bytes(&table, 1);
    void* block = aligned_alloc(64, static_cast<size_t>(bytes));
    memset(block, 0, static_cast<size_t>(bytes));
    const heddle_config config = {&table, block, bytes, run.frozen, 1, 1, 0, run.message, storage};
    heddle_session* session;
    printf("%d %s\n", heddle_open(&config, &session), run.message);
    free(block);
  }
}

template <typename Entry>
Entry* copy_of(const Entry* entries, int32_t count) {
  Entry* copy = static_cast<Entry*>(calloc(static_cast<size_t>(count) + 1, sizeof(Entry)));
  memcpy(copy, entries, sizeof(Entry) * static_cast<size_t>(count));
  return copy;
}

// A table of which everything can be changed.
struct Damaged {
  heddle_program program = table;
  heddle_value* values = copy_of(table.values, table.value_count);
  heddle_place* arguments = copy_of(table.arguments, table.argument_count);
  heddle_part* parts = copy_of(table.parts, table.part_count);
  heddle_window* windows = copy_of(table.windows, table.window_count);
  heddle_function* functions = copy_of(table.functions, table.function_count);
  heddle_launch* launches[3];
  heddle_transfer* transfers[3];
  heddle_named* named = copy_of(functions[0].named, functions[0].named_count);
  heddle_firsts* firsts = copy_of(functions[0].firsts, functions[0].firsts_count);
  heddle_rows* rows = copy_of(functions[0].rows, functions[0].rows_count);

  Damaged() {
    program.values = values;
    program.arguments = arguments;
    program.parts = parts;
    program.windows = windows;
    program.functions = functions;
    for (int32_t index = 0; index < 3; index++) {
      launches[index] = copy_of(functions[index].launches, functions[index].launch_count);
      transfers[index] = copy_of(functions[index].transfers, functions[index].transfer_count);
      functions[index].launches = launches[index];
      functions[index].transfers = transfers[index];
    }
    functions[0].named = named;
    functions[0].firsts = firsts;
    functions[0].rows = rows;
  }

  ~Damaged() {
    for (int32_t index = 0; index < 3; index++) {
      free(launches[index]);
      free(transfers[index]);
    }
    void* const tables[] = {values, arguments, parts, windows, functions, named, firsts, rows};
    for (void* one : tables) free(one);
  }

  Damaged(const Damaged&) = delete;
  Damaged& operator=(const Damaged&) = delete;

  // The first transfer of what is carried over.
  heddle_transfer* keep() {
    int32_t index = 0;
    while (transfers[2][index].kind != HEDDLE_KEEP) index++;
    return &transfers[2][index];
  }

  // Reads something instead.
  void keep_nothing() {
    for (int32_t index = 0; index < functions[2].transfer_count; index++) {
      const int32_t after = transfers[2][index].after;
      if (transfers[2][index].kind == HEDDLE_KEEP) transfers[2][index] = transfers[2][0];
      transfers[2][index].after = after;
    }
  }

  heddle_value& value(const char* name) {
    int32_t index = 0;
    while (strcmp(values[index].name, name) != 0) index++;
    return values[index];
  }
};

void print_faults() {
  const auto damage = [](const char* what, void (*change)(Damaged&)) {
    Damaged damaged;
    change(damaged);
    const char* fault = heddle::table_fault(damaged.program);
    printf("%s: %s\n", what, fault == nullptr ? "nothing" : fault);
  };
  damage("none", [](Damaged&) {});
  damage("version", [](Damaged& d) { d.program.version = 2; });
  damage("stored count below", [](Damaged& d) { d.program.stored_count--; });
  damage("stored count above", [](Damaged& d) { d.program.stored_count++; });
  damage("stored count negative", [](Damaged& d) { d.program.stored_count = -1; });
  damage("counts overflow", [](Damaged& d) { d.program.stored_count = INT32_MAX; });
  damage("two values in one place", [](Damaged& d) { d.value("weight").place = d.value("embedding").place; });
  damage("value outside of storage", [](Damaged& d) { d.value("weight").place.offset_or_index = 99; });
  damage("value without bytes", [](Damaged& d) { d.value("weight").bytes = 0; });
  damage("value of too many bytes", [](Damaged& d) { d.value("grad/weight").bytes = int64_t{1} << 60; });
  damage("values of too many bytes", [](Damaged& d) { d.value("grad/weight").bytes = d.value("grad/embedding").bytes = int64_t{1} << 48; });
  damage("stored value not streamed", [](Damaged& d) { d.value("weight").streamed = 0; });
  damage("stored input", [](Damaged& d) { d.value("weight").role = HEDDLE_INPUT; });
  damage("streamed value in memory", [](Damaged& d) { d.value("step").streamed = 1; });
  damage("versions in memory", [](Damaged& d) { d.value("step").versions = 1; });
  damage("versions of a frozen tensor", [](Damaged& d) { d.value("base").versions = 1; });
  damage("argument outside of storage", [](Damaged& d) { d.arguments[d.launches[2][0].argument_begin].offset_or_index = 99; });
  damage("stored argument without parts", [](Damaged& d) { d.arguments[d.launches[1][0].argument_begin] = {HEDDLE_IN_STORAGE, 0}; });
  damage("stored argument without a window", [](Damaged& d) { d.parts[d.launches[2][0].part_begin + 1].window_count--; });
  damage("windows of nothing", [](Damaged& d) { d.parts[d.launches[2][0].part_begin].window_begin = INT32_MAX; });
  damage("window of no argument", [](Damaged& d) { d.windows[0].argument = 3; });
  damage("window outside of the arena", [](Damaged& d) { d.windows[0].offset = d.program.arena_bytes + 1; });
  damage("window before its tensor", [](Damaged& d) { d.windows[0].from = -1; });
  damage("window on memory", [](Damaged& d) { d.arguments[d.launches[2][0].argument_begin] = {HEDDLE_IN_STATE, 0}; });
  damage("parts with a gap", [](Damaged& d) { d.parts[d.launches[2][0].part_begin].end--; });
  damage("part waits for too many", [](Damaged& d) { d.parts[d.launches[2][0].part_begin].transfers = 1000; });
  damage("part waits for itself", [](Damaged& d) { d.parts[d.launches[2][0].part_begin].transfers = 7; });
  damage("launch waits for less than none", [](Damaged& d) { d.launches[0][0].transfers = -1; });
  damage("launch waits for itself", [](Damaged& d) { d.launches[0][1].transfers = 2; });
  damage("transfer of another kind", [](Damaged& d) { d.transfers[2][0].kind = 4; });
  damage("transfer of less than any kind", [](Damaged& d) { d.transfers[2][0].kind = -1; });
  damage("the next version of what has none", [](Damaged& d) { d.transfers[2][0].kind = HEDDLE_READ_NEXT; d.value("weight").versions = 0; });
  damage("the next version without an update", [](Damaged& d) { d.transfers[0][0].kind = HEDDLE_READ_NEXT; });
  damage("kept without an update", [](Damaged& d) { *d.keep() = d.transfers[2][0]; d.transfers[0][1].kind = HEDDLE_KEEP; });
  damage("kept of a tensor", [](Damaged& d) { d.keep()->tensor = {HEDDLE_IN_STORAGE, 0}; });
  damage("kept from the arena", [](Damaged& d) { d.keep()->offset = 64; });
  damage("kept by ids", [](Damaged& d) { d.keep()->named = 0; });
  damage("kept of nothing", [](Damaged& d) { d.keep()->bytes = 0; });
  damage("kept before the state", [](Damaged& d) { d.keep()->from = -64; });
  damage("kept beyond what is carried over", [](Damaged& d) { d.keep()->from += 64; });
  damage("kept twice", [](Damaged& d) { d.keep()->from = 0; });
  damage("not all kept", [](Damaged& d) { d.keep()->bytes -= 4; });
  damage("more carried over than there is", [](Damaged& d) { d.program.carried_bytes = d.program.state_bytes + 1; });
  damage("carried over before the state", [](Damaged& d) { d.program.carried_bytes = -1; });
  damage("fetched rows of a next version", [](Damaged& d) { d.rows[0].next = 1; });
  damage("an update that is more than whole", [](Damaged& d) { d.keep_nothing(); d.functions[2].updates = 4; });
  damage("an update that never ends", [](Damaged& d) { d.keep_nothing(); d.functions[2].updates = HEDDLE_BEGINS; });
  damage("an update that never begins", [](Damaged& d) { d.functions[2].updates = HEDDLE_ENDS; });
  damage("transfer of memory", [](Damaged& d) { d.transfers[2][0].tensor = {HEDDLE_IN_STATE, 0}; });
  damage("transfer of no tensor", [](Damaged& d) { d.transfers[2][0].tensor.offset_or_index = -1; });
  damage("write of a frozen tensor", [](Damaged& d) { d.transfers[0][1].tensor = {HEDDLE_IN_CHECKPOINT, 0}; });
  damage("transfer behind its tensor", [](Damaged& d) { d.transfers[2][0].from = d.value("weight").bytes - 671; });
  damage("transfer before its tensor", [](Damaged& d) { d.transfers[2][0].from = -1; });
  damage("transfer outside of the arena", [](Damaged& d) { d.transfers[2][0].offset = d.program.arena_bytes - 671; });
  damage("transfer of nothing", [](Damaged& d) { d.transfers[2][0].bytes = 0; });
  damage("transfers out of order", [](Damaged& d) { d.transfers[2][9].after = 0; });
  damage("transfer after the end", [](Damaged& d) { d.transfers[2][d.functions[2].transfer_count - 1].after++; });
  damage("transfer of other rows", [](Damaged& d) { d.transfers[0][0].named = 1; });
  damage("transfer of no rows", [](Damaged& d) { d.transfers[0][0].named = -2; });
  damage("rows with a begin", [](Damaged& d) { d.transfers[0][0].from = 4; });
  damage("rows of other bytes", [](Damaged& d) { d.transfers[0][0].bytes -= 4; });
  damage("rows without firsts", [](Damaged& d) { d.functions[0].firsts_count = 0; });
  damage("rows with other firsts", [](Damaged& d) { d.named[0].firsts += 64; });
  damage("ids of the arena", [](Damaged& d) { d.firsts[0].ids.space = d.named[0].ids.space = HEDDLE_IN_ARENA; });
  damage("ids outside of their space", [](Damaged& d) { d.firsts[0].count = d.named[0].count = 100000; });
  damage("firsts outside of the arena", [](Damaged& d) { d.firsts[0].firsts = d.named[0].firsts = d.program.arena_bytes; });
  damage("rows longer than the table", [](Damaged& d) { d.named[0].row_bytes = 1 << 20; });
  damage("rows of no bytes", [](Damaged& d) { d.named[0].row_bytes = 0; });
  damage("fetched rows of memory", [](Damaged& d) { d.rows[0].tensor = {HEDDLE_IN_INPUTS, 0}; });
  damage("fetched rows to storage", [](Damaged& d) { d.rows[0].to = {HEDDLE_IN_STORAGE, 0}; });
  damage("fetched rows of arena ids", [](Damaged& d) { d.rows[0].ids.space = HEDDLE_IN_ARENA; });
  damage("versions written without an update", [](Damaged& d) { d.functions[2].updates = 0; });
  damage("an update that writes nothing", [](Damaged& d) { d.functions[1].updates = 1; });
  damage("an update that leaves a range out", [](Damaged& d) { d.transfers[2][6].kind = HEDDLE_READ; });
  damage("versions written by rows", [](Damaged& d) { d.value("grad/embedding").versions = 1; });
}

}  // namespace

int main(int count, char** words) {
  const char* what = count > 1 ? words[1] : "";
  const long number = count > 2 ? atol(words[2]) : 0;
  if (strcmp(what, "log") == 0) {
    Run run(1);
    run.memory.says = true;
    printf("%d\n", run.step());
  } else if (strcmp(what, "steps") == 0) {
    print_steps(static_cast<int32_t>(number), count > 3);
  } else if (strcmp(what, "fail") == 0) {
    for (long fails = 0; fails < number; fails++) print_failure(fails);
  } else if (strcmp(what, "abandon") == 0 || strcmp(what, "close") == 0) {
    print_left(what[0] == 'c');
  } else if (strcmp(what, "refusals") == 0) {
    print_refusals();
  } else {
    print_faults();
  }
  return 0;
}
