// Everything a native session does not have in memory, behind the run-time's heddle_storage: frozen tensors in their files,
// stored values in the state file, both at the speed of another device where one is asked for. Knows no command.
#ifndef HEDDLE_STORAGE_H
#define HEDDLE_STORAGE_H

#include "heddle_frozen.h"
#include "heddle_stored.h"

namespace heddle {

class Storage {
 public:
  FrozenFiles frozen;
  StateFile stored;

  bool reserve(const heddle_program& program) {
    frozen_count_ = program.checkpoint_count;
    return frozen.reserve(program.checkpoint_count) && stored.reserve(program);
  }

  // Moves no faster than a device with these figures would, and leaves nothing in the page cache.
  void pace(double read_rate, double write_rate, double latency) { pacer_.set(read_rate, write_rate, latency); }

  heddle_storage callbacks() { return {this, fetch, store, begin_update, end_update, ask}; }

  static constexpr int64_t state_file = -1;
  static constexpr int64_t no_file = -2;

  // Whose file it was that a call failed at: the number of a frozen tensor, or one of those two.
  int64_t failed() const { return failed_; }
  void begin_call() {
    failed_ = no_file;
    pacer_.forget();
  }

 private:
  FilePlace place_of(int32_t tensor, int64_t from, int32_t next) const {
    const int32_t index = tensor - frozen_count_;
    return index < 0 ? frozen.place(tensor, from) : next != 0 ? stored.next_place(index, from) : stored.place(index, from);
  }

  static void ask(void* self, int32_t tensor, int64_t from, int64_t bytes, int32_t next, int32_t written) {
    Storage& storage = *static_cast<Storage*>(self);
    // What is written is under way in the system's own time.
    const FilePlace place = storage.place_of(tensor, from, next);
    if (written == 0) ask_range(place.file, place.offset, bytes);
    if (storage.pacer_.on()) storage.pacer_.ask();
  }

  static int32_t fetch(void* self, int32_t tensor, int64_t from, int64_t bytes, int32_t next, void* to, char* message) {
    Storage& storage = *static_cast<Storage*>(self);
    const FilePlace place = storage.place_of(tensor, from, next);
    const bool is_state = tensor >= storage.frozen_count_;
    const double begin = now_microseconds();
    if (read_range(place.file, place.offset, bytes, to)) return storage.moved(place, begin, bytes, false);
    const char* const why = errno == ENODATA ? "the file has become shorter" : strerror(errno);
    storage.failed_ = is_state ? state_file : tensor;
    return say(message, place, bytes, is_state ? " of the state file cannot be read: " : " of the weight file cannot be read: ", why);
  }

  static int32_t store(void* self, int32_t tensor, int64_t from, int64_t bytes, const void* data, char* message) {
    Storage& storage = *static_cast<Storage*>(self);
    const int32_t index = tensor < 0 ? StateFile::carried : tensor - storage.frozen_count_;
    const FilePlace place = storage.stored.next_place(index, from);
    const double begin = now_microseconds();
    if (write_range(place.file, place.offset, bytes, data)) {
      storage.stored.wrote_next(index, from, bytes, data);
      return storage.moved(place, begin, bytes, true);
    }
    storage.failed_ = state_file;
    return say(message, place, bytes, " of the state file cannot be written: ", strerror(errno));
  }

  static int32_t begin_update(void* self, char* message) {
    Storage& storage = *static_cast<Storage*>(self);
    return storage.of_states(storage.stored.begin_update(message));
  }

  static int32_t end_update(void* self, char* message) {
    Storage& storage = *static_cast<Storage*>(self);
    return storage.of_states(storage.stored.end_update(message));
  }

  int32_t of_states(bool done) {
    if (!done) failed_ = state_file;
    return done ? 0 : 1;
  }

  int32_t moved(const FilePlace& place, double begin, int64_t bytes, bool written) {
    if (!pacer_.on()) return 0;
    drop_range(place.file, place.offset, bytes, written);
    pacer_.rest(begin, bytes, written);
    return 0;
  }

  static int32_t say(char* message, const FilePlace& place, int64_t bytes, const char* what, const char* why) {
    Text(message, HEDDLE_MESSAGE_BYTES) << "bytes " << place.offset << " to " << place.offset + bytes << what << why;
    return 1;
  }

  int32_t frozen_count_ = 0;
  int64_t failed_ = no_file;
  Pacer pacer_;
};

}  // namespace heddle

#endif
