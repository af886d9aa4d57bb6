// Frozen tensors of a native session: ranges of files, checked against the files. Those in memory are mapped read-only, so
// that the system may drop and reread their pages; streamed ones are read when they are wanted. Knows no file format.
#ifndef HEDDLE_FROZEN_H
#define HEDDLE_FROZEN_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "heddle.h"
#include "heddle_files.h"
#include "heddle_text.h"

namespace heddle {

// Alignment that reads of an element need.
inline int64_t element_bytes(int32_t dtype) { return dtype == HEDDLE_F16 || dtype == HEDDLE_BF16 ? 2 : 4; }

// Copies a range of a file that does not begin at a multiple of its element: some writers leave headers unpadded.
inline bool copy_range(int file, int64_t offset, int64_t bytes, heddle_frozen* frozen) {
  void* memory = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  if (!read_range(file, offset, bytes, memory)) {
    const int error = errno;
    munmap(memory, static_cast<size_t>(bytes));
    errno = error;
    return false;
  }
  *frozen = {memory, bytes};
  return true;
}

inline bool map_range(int file, int64_t offset, int64_t bytes, heddle_frozen* frozen) {
  const int64_t page = sysconf(_SC_PAGESIZE);
  const int64_t before = offset % page;
  void* memory = mmap(nullptr, static_cast<size_t>(before + bytes), PROT_READ, MAP_PRIVATE, file, offset - before);
  if (memory == MAP_FAILED) return false;
  *frozen = {static_cast<char*>(memory) + before, bytes};
  return true;
}

// A file that holds a range of `bytes` bytes, open; −1 with a sentence.
inline int open_file(const char* path, int64_t offset, int64_t bytes, Text message) {
  // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
  const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) {
    message << path << ": " << strerror(errno);
    return -1;
  }
  struct stat status;
  if (fstat(file, &status) != 0) {
    message << path << ": " << strerror(errno);
  } else if (!S_ISREG(status.st_mode)) {
    message << path << ": this is not a regular file";
  } else if (offset < 0 || bytes <= 0 || bytes > status.st_size || offset > status.st_size - bytes) {
    message << path << ": the tensor ends at byte " << offset + bytes << ", the file has " << int64_t{status.st_size};
  } else {
    return file;
  }
  close(file);
  return -1;
}

// Makes `bytes` bytes of a regular file readable. Mappings last until the process ends.
inline bool open_range(const char* path, int64_t offset, int64_t bytes, int64_t element, heddle_frozen* frozen, Text message) {
  const int file = open_file(path, offset, bytes, message);
  if (file < 0) return false;
  const bool done = offset % element == 0 ? map_range(file, offset, bytes, frozen) : copy_range(file, offset, bytes, frozen);
  if (!done) message << path << ": " << strerror(errno);
  close(file);
  return done;
}

// Frozen tensors that stay in their files, which are kept open: one entry for each tensor of the program.
class FrozenFiles {
 public:
  ~FrozenFiles() {
    for (int32_t index = 0; index < count_; index++) {
      if (entries_[index].owner) close(entries_[index].file);
    }
    free(entries_);
  }

  FrozenFiles() = default;
  FrozenFiles(const FrozenFiles&) = delete;
  FrozenFiles& operator=(const FrozenFiles&) = delete;

  bool reserve(int32_t count) {
    entries_ = static_cast<Entry*>(calloc(static_cast<size_t>(count) + 1, sizeof(Entry)));
    count_ = entries_ == nullptr ? 0 : count;
    for (int32_t index = 0; index < count_; index++) entries_[index].file = -1;
    return entries_ != nullptr;
  }

  // Remembers where a tensor lies. Neighbours of one file share its descriptor.
  bool add(int32_t index, const char* path, int64_t offset, int64_t bytes, Text message) {
    Entry& entry = entries_[index];
    const int file = open_file(path, offset, bytes, message);
    if (file < 0) return false;
    entry.offset = offset;
    struct stat mine;
    struct stat other;
    fstat(file, &mine);
    for (int32_t before = index - 1; before >= 0; before--) {
      if (!entries_[before].owner || fstat(entries_[before].file, &other) != 0) continue;
      if (other.st_ino != mine.st_ino || other.st_dev != mine.st_dev) continue;
      close(file);
      entry.file = entries_[before].file;
      return true;
    }
    entry.file = file;
    entry.owner = true;
    return true;
  }

  FilePlace place(int32_t tensor, int64_t from) const { return {entries_[tensor].file, entries_[tensor].offset + from}; }

 private:
  struct Entry {
    int64_t offset;
    int file;
    bool owner;
  };

  Entry* entries_ = nullptr;
  int32_t count_ = 0;
};

}  // namespace heddle

#endif
