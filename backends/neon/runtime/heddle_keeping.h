// Values in storage on the command line: brought, read back and kept piece by piece through a fixed buffer. Knows no call.
#ifndef HEDDLE_KEEPING_H
#define HEDDLE_KEEPING_H

#include "heddle_channel.h"
#include "heddle_storage.h"

namespace heddle {

// Each command answers for itself; false ends the program.
class Keeping {
 public:
  Keeping(const heddle_program& program, StateFile& file, Input& input, Output& output)
      : program_(program), file_(file), input_(input), output_(output) {}

  // The value of this name that is in storage, or null.
  const heddle_value* find(const char* name) const {
    const heddle_value* value = named(name);
    return value != nullptr && value->place.space == HEDDLE_IN_STORAGE ? value : nullptr;
  }

  // Whether a value of this name is in memory and, with others in storage, in their versions.
  bool is_beside(const char* name) const {
    const heddle_value* value = named(name);
    return value != nullptr && value->place.space == HEDDLE_IN_STATE && program_.stored_count > 0;
  }

  // A value of this name in memory was written.
  void written(const char* name) {
    if (is_beside(name)) file_.state_written();
  }

  bool write(const heddle_value& value) {
    const int32_t index = static_cast<int32_t>(value.place.offset_or_index);
    bool done = file_.begin_write(index, message_);
    for (int64_t from = 0; from < value.bytes; from += StateFile::staging_bytes) {
      const int64_t bytes = piece(value, from);
      if (!input_.bytes(file_.staging(), bytes)) return false;
      done = done && file_.write(index, from, bytes, file_.staging(), message_);
    }
    return done ? output_.begin().field("ok", true).end() : refuse();
  }

  bool read(const heddle_value& value) {
    const int32_t index = static_cast<int32_t>(value.place.offset_or_index);
    // What was announced cannot be taken back: a file that was cut off lacks the end, which is looked at first.
    const int64_t last = (value.bytes - 1) / StateFile::staging_bytes * StateFile::staging_bytes;
    if (last > 0 && !file_.read(index, last, value.bytes - last, file_.staging(), message_)) return refuse();
    for (int64_t from = 0; from < value.bytes; from += StateFile::staging_bytes) {
      const int64_t bytes = piece(value, from);
      if (!file_.read(index, from, bytes, file_.staging(), message_)) return from == 0 ? refuse() : die();
      if (from == 0 && !output_.begin().field("ok", true).field("payload", value.bytes).end()) return false;
      if (!output_.bytes(file_.staging(), bytes)) return false;
    }
    return true;
  }

  bool keep() {
    if (!file_.keep(message_)) return refuse();
    const uint64_t number = file_.sum();
    char sum[17] = {};
    for (int32_t digit = 0; digit < 16; digit++) sum[digit] = "0123456789abcdef"[number >> (60 - 4 * digit) & 15];
    return output_.begin().field("ok", true).field("version", file_.version()).field("slot", int64_t{file_.slot()}).field("sum", sum).end();
  }

 private:
  static int64_t piece(const heddle_value& value, int64_t from) {
    const int64_t left = value.bytes - from;
    return left < StateFile::staging_bytes ? left : StateFile::staging_bytes;
  }

  const heddle_value* named(const char* name) const {
    for (int32_t index = 0; index < program_.value_count; index++) {
      if (same_text(program_.values[index].name, name)) return &program_.values[index];
    }
    return nullptr;
  }

  bool refuse() {
    return output_.begin().field("ok", false).field("code", "storage").field("file", Storage::state_file).field("message", message_).end();
  }

  // In the middle of bytes that were announced nothing else can be said on the output.
  bool die() {
    (void)Output(STDERR_FILENO).bytes(message_, static_cast<int64_t>(strlen(message_)));
    return false;
  }

  const heddle_program& program_;
  StateFile& file_;
  Input& input_;
  Output& output_;
  char message_[HEDDLE_MESSAGE_BYTES] = {};
};

}  // namespace heddle

#endif
