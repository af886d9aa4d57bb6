// The state file: values that change and are not in memory, and what a session has in memory with them, in versions of which
// one always stands. Knows neither what the values mean nor who moves them.
//
//   byte 0      "heddle states 2\n", bytes of a slot, bytes of the file, a number that no other file has
//   byte 1,024  record of slot 0: its version, and a number that says the record is whole; byte 2,048: of slot 1
//   byte 4,096  slot 0, then slot 1: what the session carries over in memory, then every stored value with versions
//   then        stored values without versions
//
// Numbers are of 64 bits, the lowest byte first. Everything in a slot and behind the slots begins at a multiple of 4,096, in
// the order of the program's stored values. A slot whose record is whole holds all of that version; of two such slots, the
// later version stands. A record is taken back before anything of its slot is overwritten, and made when all of it is on the
// medium, so from the first version on there is always one. What a slot holds has a sum, which whoever names a version keeps
// beside its number: of a disk that changes bytes unnoticed nothing in the file would tell.
#ifndef HEDDLE_STORED_H
#define HEDDLE_STORED_H

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "heddle.h"
#include "heddle_files.h"
#include "heddle_text.h"

namespace heddle {

class StateFile {
 public:
  static constexpr int64_t block_bytes = 4096;
  static constexpr int64_t staging_bytes = 256 * 1024;
  // What the session carries over in memory, in the place of a stored value.
  static constexpr int32_t carried = -1;

  StateFile() = default;
  StateFile(const StateFile&) = delete;
  StateFile& operator=(const StateFile&) = delete;

  ~StateFile() {
    if (file_ >= 0) close(file_);
    free(entries_);
    free(path_);
  }

  // Lays the file of a sound program out; false when there is no memory for that.
  bool reserve(const heddle_program& program) {
    entries_ = static_cast<Entry*>(calloc(static_cast<size_t>(program.stored_count) + 1, sizeof(Entry)));
    if (entries_ == nullptr) return false;
    count_ = program.stored_count;
    for (int32_t index = 0; index < program.value_count; index++) {
      const heddle_value& value = program.values[index];
      if (value.place.space == HEDDLE_IN_STORAGE) entries_[value.place.offset_or_index] = {0, value.bytes, value.versions != 0, {0, 0}};
    }
    state_bytes_ = program.carried_bytes;
    slot_bytes_ = whole_blocks(state_bytes_);
    for (int32_t index = 0; index < program.stored_count; index++) {
      if (entries_[index].versions) place_at(entries_[index], &slot_bytes_);
    }
    total_bytes_ = slot_begin(2);
    for (int32_t index = 0; index < program.stored_count; index++) {
      if (!entries_[index].versions) place_at(entries_[index], &total_bytes_);
    }
    return true;
  }

  // Makes the file, which must not be there yet, of zeros that take no room; false with a sentence.
  bool create(const char* path, Text message) {
    path_ = strdup(path);
    file_ = path_ == nullptr ? -1 : open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file_ < 0) {
      message << path << ": " << strerror(errno);
      return false;
    }
    struct statvfs disk;
    const int64_t left = fstatvfs(file_, &disk) == 0 ? static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize) : -1;
    if (left >= 0 && left < total_bytes_) {
      message << path << ": the states need " << total_bytes_ << " bytes of disk; " << left << " are free";
    } else if (ftruncate(file_, total_bytes_) != 0 || !choose_identity() || !write_head() || fsync(file_) != 0) {
      message << path << ": " << strerror(errno);
    } else {
      synchronise_directory();
      return true;
    }
    discard();
    return false;
  }

  // Removes a file that nobody came to use.
  void discard() {
    if (file_ < 0) return;
    close(file_);
    unlink(path_);
    file_ = -1;
  }

  // What the session carries over in memory, for versions that are made without an update.
  void remember(const void* state) { state_ = state; }

  // Scratch for whoever brings values; nothing here uses it between `begin_write` and the last `write`.
  unsigned char* staging() { return staging_; }

  // A byte of a value, of the version that stands or of what is being made of it.
  FilePlace place(int32_t index, int64_t from) const { return {file_, offset_of(index, from, slot_)}; }

  // A byte of the version that an update makes, or of a value without versions; of what is `carried` as well.
  FilePlace next_place(int32_t index, int64_t from) const { return {file_, offset_of(index, from, 1 - slot_)}; }

  bool updating() const { return updating_; }

  // Whoever brings a value from outside says so first: what stands is not overwritten, but copied.
  bool begin_write(int32_t index, char* message) {
    if (updating_) return say(message, "an update was begun and never finished");
    if (!entries_[index].versions) return true;
    if (!make_draft(message)) return false;
    entries_[index].sums[slot_] = 0;
    return true;
  }

  // A piece of such a value, of which every piece comes once.
  bool write(int32_t index, int64_t from, int64_t bytes, const void* data, char* message) {
    if (!put(offset_of(index, from, slot_), bytes, data, message)) return false;
    add_up(index, slot_, from, bytes, data);
    return true;
  }

  // These bytes were written at a `next_place`.
  void wrote_next(int32_t index, int64_t from, int64_t bytes, const void* data) {
    if (!updating_) return;
    if (index == carried) {
      state_sums_[1 - slot_] += sum_of(data, bytes, from);
    } else {
      add_up(index, 1 - slot_, from, bytes, data);
    }
  }

  bool read(int32_t index, int64_t from, int64_t bytes, void* to, char* message) const {
    const int64_t offset = offset_of(index, from, slot_);
    return read_range(file_, offset, bytes, to) || unreadable(offset, bytes, message);
  }

  // Something of the session's state in memory was written from outside.
  void state_written() { state_is_newer_ = true; }

  // Makes a version of what is here now and of the session's state; nothing where that version stands already.
  bool keep(char* message) {
    if (updating_) return say(message, "an update was begun and never finished");
    if (stands_ && !state_is_newer_) return true;
    if (!make_draft(message) || !put(slot_begin(slot_), state_bytes_, state_, message)) return false;
    state_sums_[slot_] = sum_of(state_, state_bytes_, 0);
    return make_version(slot_, message);
  }

  int64_t version() const { return version_; }
  int32_t slot() const { return slot_; }

  // Of everything in the slot that is read, as `sum_of` reckons it from the slot's beginning.
  uint64_t sum() const {
    uint64_t sum = state_sums_[slot_];
    for (int32_t index = 0; index < count_; index++) sum += entries_[index].sums[slot_];
    return sum;
  }

  // Words of 32 bits, each times its odd place: 2p + 1 for the word p, modulo 2^64 (after J. G. Fletcher, "An arithmetic checksum
  // for serial transmissions", 1982). One word that changes always changes the sum; zeros add nothing; and pieces may be added up
  // in any order, which is the order in which an update writes them.
  static uint64_t sum_of(const void* data, int64_t bytes, int64_t from) {
    const unsigned char* const begin = static_cast<const unsigned char*>(data);
    const uint64_t first = static_cast<uint64_t>(from) / 4;
    uint64_t plain = 0;
    uint64_t weighted = 0;
    for (uint64_t place = 0; place < static_cast<uint64_t>(bytes) / 4; place++) {
      uint32_t word;
      memcpy(&word, begin + 4 * place, sizeof word);
      plain += word;
      weighted += place * word;
    }
    return (2 * first + 1) * plain + 2 * weighted;
  }

  bool begin_update(char* message) {
    // What was written from outside would else be lost together with what it replaced.
    if (!stands_ && version_ > 0 && !keep(message)) return false;
    updating_ = true;
    state_sums_[1 - slot_] = 0;
    for (int32_t index = 0; index < count_; index++) entries_[index].sums[1 - slot_] = 0;
    return take_back(1 - slot_, message);
  }

  bool end_update(char* message) {
    if (!make_version(1 - slot_, message)) return false;
    slot_ = 1 - slot_;
    updating_ = false;
    return true;
  }

 private:
  struct Entry {
    int64_t offset;  // into a slot, or into the file for a value without versions
    int64_t bytes;
    bool versions;
    uint64_t sums[2];  // of what each slot holds of it
  };

  // Elements have four bytes, and so do the words of a sum.
  void add_up(int32_t index, int32_t slot, int64_t from, int64_t bytes, const void* data) {
    Entry& entry = entries_[index];
    if (entry.versions) entry.sums[slot] += sum_of(data, bytes, entry.offset + from);
  }

  static int64_t whole_blocks(int64_t bytes) { return (bytes + (block_bytes - 1)) & ~(block_bytes - 1); }

  static void place_at(Entry& entry, int64_t* next) {
    entry.offset = *next;
    *next += whole_blocks(entry.bytes);
  }

  int64_t slot_begin(int32_t slot) const { return block_bytes + slot * slot_bytes_; }

  int64_t offset_of(int32_t index, int64_t from, int32_t slot) const {
    if (index == carried) return slot_begin(slot) + from;
    const Entry& entry = entries_[index];
    return (entry.versions ? slot_begin(slot) : 0) + entry.offset + from;
  }

  static void put_number(unsigned char* bytes, uint64_t number) {
    for (int32_t index = 0; index < 8; index++) bytes[index] = static_cast<unsigned char>(number >> (8 * index));
  }

  // FNV-1a over version, slot, bytes of a slot and of the file, and the file's number: of no record that is torn, or of another
  // file.
  uint64_t check_of(int64_t version, int32_t slot) const {
    unsigned char bytes[40];
    put_number(bytes, static_cast<uint64_t>(version));
    put_number(bytes + 8, static_cast<uint64_t>(slot));
    put_number(bytes + 16, static_cast<uint64_t>(slot_bytes_));
    put_number(bytes + 24, static_cast<uint64_t>(total_bytes_));
    put_number(bytes + 32, identity_);
    uint64_t hash = 0xcbf29ce484222325u;
    for (const unsigned char byte : bytes) hash = (hash ^ byte) * 0x100000001b3u;
    return hash;
  }

  bool write_head() {
    unsigned char head[40];
    memcpy(head, "heddle states 2\n", 16);
    put_number(head + 16, static_cast<uint64_t>(slot_bytes_));
    put_number(head + 24, static_cast<uint64_t>(total_bytes_));
    put_number(head + 32, identity_);
    return write_range(file_, 0, sizeof head, head);
  }

  // False with errno where the system has no random numbers.
  bool choose_identity() {
    const int source = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    const bool chosen = source >= 0 && read_range(source, 0, sizeof identity_, &identity_);
    if (source >= 0) close(source);
    return chosen;
  }

  // So that the file's name is on the medium too. A file system that cannot do that is no reason not to train.
  void synchronise_directory() {
    char* const end = strrchr(path_, '/');
    if (end != nullptr) *end = 0;
    const int directory = open(end == nullptr ? "." : end == path_ ? "/" : path_, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (end != nullptr) *end = '/';
    if (directory < 0) return;
    (void)fsync(directory);
    close(directory);
  }

  static bool say(char* message, const char* sentence) {
    Text(message, HEDDLE_MESSAGE_BYTES) << sentence;
    return false;
  }

  static bool unreadable(int64_t offset, int64_t bytes, char* message) {
    Text(message, HEDDLE_MESSAGE_BYTES) << "bytes " << offset << " to " << offset + bytes << " of the state file cannot be read: "
                                        << (errno == ENODATA ? "the file has become shorter" : strerror(errno));
    return false;
  }

  static bool unwritable(char* message) {
    Text(message, HEDDLE_MESSAGE_BYTES) << "what was written to the state file does not come to the disk: " << strerror(errno);
    return false;
  }

  bool put(int64_t offset, int64_t bytes, const void* data, char* message) {
    if (write_range(file_, offset, bytes, data)) return true;
    const int error = errno;
    Text(message, HEDDLE_MESSAGE_BYTES) << "bytes " << offset << " to " << offset + bytes << " of the state file cannot be written: "
                                        << strerror(error);
    return false;
  }

  bool put_record(int32_t slot, int64_t version, uint64_t check, char* message) {
    unsigned char record[16];
    put_number(record, static_cast<uint64_t>(version));
    put_number(record + 8, check);
    if (!put(1024 + 1024 * slot, sizeof record, record, message)) return false;
    return synchronise(file_) || unwritable(message);
  }

  // From here on nothing says that this slot is whole.
  bool take_back(int32_t slot, char* message) {
    if (!is_whole_[slot]) return true;
    is_whole_[slot] = false;
    return put_record(slot, 0, 0, message);
  }

  // The next version is what this slot holds.
  bool make_version(int32_t slot, char* message) {
    if (!synchronise(file_)) return unwritable(message);
    if (!put_record(slot, version_ + 1, check_of(version_ + 1, slot), message)) return false;
    version_++;
    is_whole_[slot] = true;
    stands_ = true;
    state_is_newer_ = false;
    return true;
  }

  // Goes on in a copy of the version that stands.
  bool make_draft(char* message) {
    if (!stands_) return true;
    const int32_t other = 1 - slot_;
    if (!take_back(other, message)) return false;
    const int64_t begin = whole_blocks(state_bytes_);
    for (int64_t done = begin; done < slot_bytes_; done += staging_bytes) {
      const int64_t bytes = slot_bytes_ - done < staging_bytes ? slot_bytes_ - done : staging_bytes;
      if (!read_range(file_, slot_begin(slot_) + done, bytes, staging_)) return unreadable(slot_begin(slot_) + done, bytes, message);
      if (!put(slot_begin(other) + done, bytes, staging_, message)) return false;
    }
    for (int32_t index = 0; index < count_; index++) entries_[index].sums[other] = entries_[index].sums[slot_];
    slot_ = other;
    stands_ = false;
    return true;
  }

  Entry* entries_ = nullptr;
  int32_t count_ = 0;
  char* path_ = nullptr;
  int file_ = -1;
  int64_t state_bytes_ = 0;
  int64_t slot_bytes_ = 0;
  int64_t total_bytes_ = 0;
  uint64_t identity_ = 0;
  const void* state_ = nullptr;
  uint64_t state_sums_[2] = {0, 0};
  int64_t version_ = 0;  // the last that was made
  int32_t slot_ = 0;     // what is read
  bool stands_ = false;  // what is read is that version
  bool state_is_newer_ = false;
  bool updating_ = false;
  bool is_whole_[2] = {false, false};
  unsigned char staging_[staging_bytes];
};

}  // namespace heddle

#endif
