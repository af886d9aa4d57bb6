// The command-line binary around one program: commands on standard input, JSON lines on standard output, so that Node, a
// phone shell and tests drive the same thing. Ends when its input ends. Must not know what any function computes.
//
//   open THREADS PROFILE COUNT BYTES_PER_SECOND MICROSECONDS [BYTES_WRITTEN_PER_SECOND], then COUNT lines OFFSET BYTES PATH
//     and, where the program has values in storage, a line with the path of the state file to be made
//   write BYTES NAME, then the bytes
//   read NAME   output FUNCTION NAME   call FUNCTION SIZE…   step more|last|later|end SIZE…   settle   resume   pause LAUNCHES
//   stats   keep   govern POLICY|off   energy   finish NOW   quit
//
// A call answers status "ok", "paused" (`resume` goes on), "notFinite", or "abandoned" after `finish`. `pause` and
// `finish` have no answer, so that they may come while a call runs. `read` and `output` announce the bytes that follow
// their line as "payload". Behind a `step later` an update is owed: `read`, `write` and `keep` are of what was trained before
// it, until `settle` or the next `step` has made it. What the governor decides comes between the answers, as lines with "event".
#ifndef HEDDLE_MAIN_H
#define HEDDLE_MAIN_H

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if defined(HEDDLE_COUNT_ALLOCATIONS)
#include "heddle_count.h"
#endif
#include "heddle_channel.h"
#include "heddle_governing.h"
#include "heddle_keeping.h"
#include "heddle_runtime.h"
#include "heddle_storage.h"

namespace heddle {

#if !defined(HEDDLE_COUNT_ALLOCATIONS)
// Not counted in this build.
inline int64_t allocations() { return -1; }
#endif

// Ranges of weight files that are mapped, for the moment at which one cannot be read any more.
struct MappedRanges {
  const heddle_frozen* frozen;
  const int64_t* offsets;  // into their files
  int64_t count;
};
inline MappedRanges mapped_ranges = {nullptr, nullptr, 0};

class CommandLine {
 public:
  CommandLine(const heddle_program& program, int input, int output) : program_(program), input_(input), output_(output) {}

  ~CommandLine() {
    heddle_close(session_);
    if (memory_ != nullptr) munmap(memory_, static_cast<size_t>(memory_bytes_));
    mapped_ranges = {nullptr, nullptr, 0};
    free(frozen_);
    free(offsets_);
  }

  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // Obeys until the input ends or a command cannot be understood as one.
  int run() {
    for (;;) {
      char* line = input_.line();
      if (line == nullptr || same_text(line, "quit")) return 0;
      const char* command = next_word(&line);
      if (command == nullptr) continue;
      if (!obey(command, line)) return 0;
      if (closed_) return 0;
    }
  }

 private:
  bool obey(const char* command, char* rest) {
    if (same_text(command, "open")) return open(rest);
    if (session_ == nullptr) return refuse("'open' comes first");
    if (same_text(command, "write")) return write(rest);
    if (same_text(command, "read")) return read(rest);
    if (same_text(command, "output")) return read_output(rest);
    if (same_text(command, "call")) return call(rest);
    if (same_text(command, "step")) return step(rest);
    if (same_text(command, "settle")) return settle();
    if (same_text(command, "resume")) return paused_ ? run_call() : refuse("no call is paused");
    if (same_text(command, "stats")) return stats();
    if (same_text(command, "keep")) return keep();
    if (same_text(command, "govern")) return govern(rest);
    if (same_text(command, "energy")) return governing_.measure();
    if (same_text(command, "pause") || same_text(command, "finish")) return obey_silently(command, rest);
    return refuse("there is no such command");
  }

  bool refuse(const char* sentence, const char* code = "invalid") {
    return output_.begin().field("ok", false).field("code", code).field("message", sentence).end();
  }

  bool open(char* rest) {
    const int64_t threads = next_number(&rest);
    const int64_t profile = next_number(&rest);
    const int64_t count = next_number(&rest);
    const int64_t rate = next_number(&rest);
    const int64_t latency = next_number(&rest);
    const int64_t write_rate = next_number(&rest);
    if (session_ != nullptr || memory_ != nullptr) return refuse("the session is open already");
    if (threads < 1 || threads > HEDDLE_MOST_THREADS || profile < 0) return refuse("wrong number of threads");
    // The lines that follow cannot be told from commands, so a wrong count ends the session.
    if (count != program_.checkpoint_count) return refuse("wrong number of frozen tensors") && false;
    // Whatever follows goes by the table.
    if (const char* fault = table_fault(program_)) return refuse(fault) && false;
    frozen_ = static_cast<heddle_frozen*>(calloc(static_cast<size_t>(count) + 1, sizeof(heddle_frozen)));
    offsets_ = static_cast<int64_t*>(calloc(static_cast<size_t>(count) + 1, sizeof(int64_t)));
    if (frozen_ == nullptr || offsets_ == nullptr || !storage_.reserve(program_)) {
      return refuse("there is not enough memory", "refused") && false;
    }
    if (rate > 0 && latency >= 0) {
      storage_.pace(static_cast<double>(rate), static_cast<double>(write_rate > 0 ? write_rate : rate), static_cast<double>(latency));
    }
    bool found = true;
    for (int64_t index = 0; index < count; index++) {
      char* line = input_.line();
      if (line == nullptr) return false;
      if (!found) continue;
      const int64_t offset = next_number(&line);
      const int64_t bytes = next_number(&line);
      offsets_[index] = offset;
      const Text message(message_, HEDDLE_MESSAGE_BYTES);
      const heddle_value* value = frozen_value(index);
      // Rows are fetched of tensors in memory as well.
      if (streams(program_) && !storage_.frozen.add(static_cast<int32_t>(index), line, offset, bytes, message)) {
        found = false;
      } else if (value != nullptr && value->streamed != 0) {
        frozen_[index] = {nullptr, bytes};
      } else {
        found = open_range(line, offset, bytes, value == nullptr ? 4 : element_bytes(value->dtype), &frozen_[index], message);
      }
    }
    if (program_.stored_count > 0) {
      const char* path = input_.line();
      if (path == nullptr) return false;
      found = found && storage_.stored.create(path, Text(message_, HEDDLE_MESSAGE_BYTES));
    }
    if (!found) return refuse(message_, "file");
    mapped_ranges = {frozen_, offsets_, count};
    if (!open_session(static_cast<int32_t>(threads), profile != 0)) return false;
    if (session_ == nullptr) storage_.stored.discard();
    return true;
  }

  // The frozen tensor with this index, or null.
  const heddle_value* frozen_value(int64_t index) const {
    for (int32_t value = 0; value < program_.value_count; value++) {
      const heddle_value& one = program_.values[value];
      if (one.place.space == HEDDLE_IN_CHECKPOINT && one.place.offset_or_index == index) return &one;
    }
    return nullptr;
  }

  bool open_session(int32_t threads, bool profile) {
    memory_bytes_ = heddle_memory_bytes(&program_, threads);
    if (memory_bytes_ < 0) return refuse("the program table is damaged");
    // Fresh pages are zero and cost nothing until they are touched.
    void* memory = mmap(nullptr, static_cast<size_t>(memory_bytes_), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return refuse("there is not enough memory", "refused");
    memory_ = memory;
    const heddle_config config = {&program_, memory, memory_bytes_, frozen_, program_.checkpoint_count,
                                  threads, profile ? 1 : 0, message_, storage_.callbacks()};
    const int32_t opened = heddle_open(&config, &session_);
    if (opened != HEDDLE_OK) return opened == HEDDLE_REFUSED ? refuse(message_, "refused") : refuse(message_);
    storage_.stored.remember(session_->spaces[HEDDLE_IN_STATE]);
    heddle_set_pause(session_, pause_callback, this);
    return output_.begin().field("ok", true).field("program", program_.name).field("isa", program_.isa)
        .field("bytes", memory_bytes_).end();
  }

  bool write(char* rest) {
    const int64_t bytes = next_number(&rest);
    if (bytes < 0) return refuse("'write' takes a number of bytes and a name") && false;
    const heddle_value* stored = paused_ ? nullptr : keeping_.find(rest);
    if (stored != nullptr && stored->bytes == bytes) return keeping_.write(*stored);
    heddle_view view;
    const bool found = heddle_value_view(session_, rest, &view) == HEDDLE_OK && view.bytes == bytes;
    // What a step carries over may be on its way to a version.
    if (found && !(paused_ && keeping_.is_beside(rest))) {
      if (!input_.bytes(view.data, bytes)) return false;
      keeping_.written(rest);
      return output_.begin().field("ok", true).end();
    }
    if (paused_ && (keeping_.find(rest) != nullptr || keeping_.is_beside(rest))) {
      Text(message_, HEDDLE_MESSAGE_BYTES) << "'resume' the paused call first";
    } else {
      Text(message_, HEDDLE_MESSAGE_BYTES) << "no state or input '" << rest << "' of " << bytes << " bytes";
    }
    return input_.bytes(nullptr, bytes) && refuse(message_);
  }

  bool read(char* rest) {
    const heddle_value* stored = keeping_.find(rest);
    if (stored != nullptr) return paused_ ? refuse("'resume' the paused call first") : keeping_.read(*stored);
    heddle_view view;
    if (heddle_value_view(session_, rest, &view) != HEDDLE_OK) return refuse(message_);
    return send(view);
  }

  bool read_output(char* rest) {
    const char* function = next_word(&rest);
    heddle_view view;
    if (heddle_output_view(session_, function == nullptr ? "" : function, rest, &view) != HEDDLE_OK) return refuse(message_);
    return send(view);
  }

  bool send(const heddle_view& view) {
    if (!output_.begin().field("ok", true).field("payload", view.bytes).end()) return false;
    return output_.bytes(view.data, view.bytes);
  }

  bool read_sizes(char* rest) {
    for (int32_t index = 0; index < program_.size_count; index++) {
      const int64_t size = next_number(&rest);
      sizes_[index] = size < 0 || size > INT32_MAX ? -1 : static_cast<int32_t>(size);
    }
    return next_word(&rest) == nullptr;
  }

  bool call(char* rest) {
    const char* function = next_word(&rest);
    const int32_t index = function == nullptr ? -1 : heddle_find_function(session_, function);
    if (index < 0) return refuse("the program has no such function");
    if (paused_) return refuse("'resume' the paused call first");
    if (!read_sizes(rest)) return refuse("wrong number of sizes");
    what_ = index;
    return run_call();
  }

  bool step(char* rest) {
    const char* which = next_word(&rest);
    const char* const words[] = {"more", "last", "later", "end"};
    int32_t last = 0;
    while (last < 4 && (which == nullptr || !same_text(which, words[last]))) last++;
    if (last == 4) return refuse("'step' takes 'more', 'last', 'later' or 'end'");
    if (paused_) return refuse("'resume' the paused call first");
    if (!read_sizes(rest)) return refuse("wrong number of sizes");
    what_ = a_step - last;
    return run_call();
  }

  bool settle() {
    if (paused_) return refuse("'resume' the paused call first");
    what_ = a_settling;
    return run_call();
  }

  bool govern(char* rest) {
    const char* fault = governing_.set(rest);
    return fault != nullptr ? refuse(fault) : output_.begin().field("ok", true).end();
  }

  bool obey_silently(const char* command, char* rest) {
    if (same_text(command, "pause")) pause_after_ = next_number(&rest);
    else governing_.hurry();
    return true;
  }

  // Begins the call that was read last, or goes on with it.
  bool run_call() {
    const int64_t before = allocations();
    governing_.enter();
    // A call that goes on has its storage at work.
    if (!paused_) storage_.begin_call();
    // Before the first kernel as between two.
    const int32_t code = !stand_still()          ? HEDDLE_PAUSED
                         : what_ >= 0            ? heddle_call(session_, what_, sizes_)
                         : what_ == a_settling ? heddle_settle(session_)
                                                 : heddle_step(session_, sizes_, a_step - what_);
    governing_.leave();
    call_allocations_ += allocations() - before;
    paused_ = code == HEDDLE_PAUSED;
    if (abandoned_) return abandon();
    if (code == HEDDLE_OK) return output_.begin().field("ok", true).field("status", "ok").end();
    if (code == HEDDLE_PAUSED) return closed_ || output_.begin().field("ok", true).field("status", "paused").end();
    if (code == HEDDLE_STORAGE_FAILED) return refuse_storage();
    if (code != HEDDLE_NOT_FINITE) return refuse(message_);
    return output_.begin().field("ok", true).field("status", "notFinite").field("value", heddle_not_finite(session_)).end();
  }

  bool refuse_storage() {
    output_.begin().field("ok", false).field("code", "storage").field("message", message_);
    if (storage_.failed() != Storage::no_file) output_.field("file", storage_.failed());
    return output_.end();
  }

  bool abandon() {
    heddle_abandon(session_);
    abandoned_ = false;
    paused_ = false;
    return output_.begin().field("ok", true).field("status", "abandoned").end();
  }

  static int32_t pause_callback(void* self) { return static_cast<CommandLine*>(self)->asked_to_pause() ? 1 : 0; }

  // Between kernels. A `pause` is obeyed at once, other commands wait their turn; the end of the input ends the work.
  bool asked_to_pause() {
    // Looking costs as much as a small kernel.
    const double now = now_microseconds();
    if (now >= next_look_) {
      next_look_ = now + 200.0;
      if (!look()) return true;
    }
    if (!stand_still()) return true;
    return pause_after_ > 0 && --pause_after_ == 0;
  }

  // Waits as long as the governor wants nothing computed, and obeys what arrives. False when the call is to be left: at
  // the end of the input, or where `finish` meets a hold. A pause that is due is not kept waiting.
  bool stand_still() {
    if (!governing_.on()) return true;
    // Half an update is nothing that could be left.
    const bool updating = heddle_updating(session_) != 0;
    for (;;) {
      const double wait = governing_.stand();
      if (wait <= 0) return true;
      if (governing_.holds() && governing_.hurries()) {
        abandoned_ = !updating;
        return updating;
      }
      if (pause_after_ == 1) return true;
      input_.wait(wait);
      closed_ = !look() || input_.ended();
      if (closed_) return false;
    }
  }

  // Obeys what arrived meanwhile; false at the end of the input.
  bool look() {
    switch (input_.arrived()) {
      case Input::Arrived::nothing:
        break;
      case Input::Arrived::something:
        while (input_.next_is("pause") || input_.next_is("finish")) {
          char* line = input_.line();
          const char* command = next_word(&line);
          obey_silently(command, line);
        }
        break;
      case Input::Arrived::end:
        closed_ = true;
        return false;
    }
    return true;
  }

  bool keep() {
    if (program_.stored_count == 0) return refuse("the program has nothing in storage");
    return paused_ ? refuse("'resume' the paused call first") : keeping_.keep();
  }

  bool stats() {
    const int64_t resident = status_bytes("VmRSS:");
    const int64_t peak = status_bytes("VmHWM:");
    // The kernel brings the two up to date at different times.
    output_.begin().field("ok", true).field("peakBytes", peak < resident ? resident : peak).field("residentBytes", resident);
    if (allocations() >= 0) output_.field("allocations", allocations()).field("callAllocations", call_allocations_);
    output_.list("kernels");
    const heddle_kernel_profile* profile = heddle_profile(session_);
    for (int32_t kernel = 0; kernel < program_.kernel_count; kernel++) {
      output_.item().field("name", program_.kernels[kernel].name).field("launches", profile[kernel].launches)
          .field("microseconds", profile[kernel].microseconds).end_item();
    }
    return output_.end_list().end();
  }

  // A line of /proc/self/status in bytes; −1 where there is no such file.
  static int64_t status_bytes(const char* key) {
    const int file = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    char text[4096];
    const ssize_t count = ::read(file, text, sizeof text - 1);
    ::close(file);
    if (count <= 0) return -1;
    text[count] = 0;
    const char* found = strstr(text, key);
    return found == nullptr ? -1 : strtoll(found + strlen(key), nullptr, 10) * 1024;
  }

  const heddle_program& program_;
  Input input_;
  Output output_;
  Governing governing_{output_};
  heddle_session* session_ = nullptr;
  void* memory_ = nullptr;
  int64_t memory_bytes_ = 0;
  heddle_frozen* frozen_ = nullptr;
  int64_t* offsets_ = nullptr;
  Storage storage_;
  Keeping keeping_{program_, storage_.stored, input_, output_};
  int32_t sizes_[HEDDLE_MOST_SIZES] = {};
  static constexpr int32_t a_step = -1;  // less one of heddle_last
  static constexpr int32_t a_settling = -5;
  int32_t what_ = 0;  // function of the last call, or one of those
  int64_t pause_after_ = 0;
  double next_look_ = 0;
  int64_t call_allocations_ = 0;
  bool paused_ = false;
  bool closed_ = false;
  bool abandoned_ = false;
  char message_[HEDDLE_MESSAGE_BYTES] = {};
};

}  // namespace heddle

namespace heddle {

// Memory mapped from a file that has become shorter cannot be read any more, and whoever was reading it cannot go on. This is
// said as the answer to the call under way; nothing but what a signal may do is done.
inline void say_lost_file(int number, siginfo_t* about, void*) {
  static int32_t said = 0;
  if (about->si_code != BUS_ADRERR) {
    // Something else: the system's own end of it.
    signal(number, SIG_DFL);
    raise(number);
    return;
  }
  // Of several threads one speaks, and its end is that of all.
  if (__atomic_exchange_n(&said, 1, __ATOMIC_SEQ_CST) != 0) {
    for (;;) pause();
  }
  const uintptr_t address = reinterpret_cast<uintptr_t>(about->si_addr);
  int64_t file = Storage::no_file;
  int64_t byte = 0;
  for (int64_t index = 0; index < mapped_ranges.count; index++) {
    const uintptr_t begin = reinterpret_cast<uintptr_t>(mapped_ranges.frozen[index].data);
    if (begin == 0 || address < begin || address - begin >= static_cast<uintptr_t>(mapped_ranges.frozen[index].bytes)) continue;
    file = index;
    byte = mapped_ranges.offsets[index] + static_cast<int64_t>(address - begin);
  }
  char answer[256];
  Text text(answer, sizeof answer);
  text << "{\"ok\":false,\"code\":\"storage\",\"message\":\"";
  if (file < 0) text << "a weight file cannot be read any more: it has become shorter\"}\n";
  else text << "byte " << byte << " of the weight file cannot be read: the file has become shorter\",\"file\":" << file << "}\n";
  const ssize_t written = ::write(STDOUT_FILENO, answer, strlen(answer));
  _exit(written < 0 ? 1 : 0);
}

}  // namespace heddle

int main() {
  struct sigaction lost = {};
  lost.sa_sigaction = heddle::say_lost_file;
  lost.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &lost, nullptr);
  // A reader that went away is a failed write, not a death.
  signal(SIGPIPE, SIG_IGN);
  // A file that may not grow is a failed write too.
  signal(SIGXFSZ, SIG_IGN);
  // A terminal sends Ctrl-C to the whole group, and so do those who stop services; whoever drives this program decides
  // what it ends, and its end closes the standard input.
  signal(SIGINT, SIG_IGN);
  signal(SIGTERM, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  heddle::CommandLine command_line(heddle_program_table, STDIN_FILENO, STDOUT_FILENO);
  return command_line.run();
}

#endif
