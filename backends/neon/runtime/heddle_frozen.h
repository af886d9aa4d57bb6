// Frozen tensors of a native session: ranges of files, checked against the files. Those in memory are mapped read-only, so
// that the system may drop and reread their pages; streamed ones are read when they are wanted. Knows no file format.
#ifndef HEDDLE_FROZEN_H
#define HEDDLE_FROZEN_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "heddle.h"
#include "heddle_platform.h"
#include "heddle_text.h"

namespace heddle {

// Alignment that reads of an element need.
inline int64_t element_bytes(int32_t dtype) { return dtype == HEDDLE_F16 || dtype == HEDDLE_BF16 ? 2 : 4; }

// Reads exactly `bytes` bytes; false with errno otherwise, ENODATA where the file ends before.
inline bool read_range(int file, int64_t offset, int64_t bytes, void* to) {
  int64_t done = 0;
  while (done < bytes) {
    const ssize_t count = pread(file, static_cast<char*>(to) + done, static_cast<size_t>(bytes - done), offset + done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      errno = count == 0 ? ENODATA : errno;
      return false;
    }
    done += count;
  }
  return true;
}

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

// Frozen tensors that stay in their files, which are kept open: one entry for each tensor of the program. `fetch` is a heddle_fetch whose context this is.
class StreamedFiles {
 public:
  ~StreamedFiles() {
    for (int32_t index = 0; index < count_; index++) {
      if (entries_[index].owner) close(entries_[index].file);
    }
    free(entries_);
  }

  StreamedFiles() = default;
  StreamedFiles(const StreamedFiles&) = delete;
  StreamedFiles& operator=(const StreamedFiles&) = delete;

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

  // Reads no faster than a device with this storage would, and leaves nothing in the page cache; 0: as fast as it goes.
  void pace(double bytes_per_second, double latency_microseconds) {
    bytes_per_second_ = bytes_per_second;
    latency_ = latency_microseconds;
  }

  static int32_t fetch(void* self, int32_t tensor, int64_t from, int64_t bytes, void* to, char* message) {
    return static_cast<StreamedFiles*>(self)->read(tensor, from, bytes, to, message) ? 0 : 1;
  }

 private:
  struct Entry {
    int64_t offset;
    int file;
    bool owner;
  };

  bool read(int32_t tensor, int64_t from, int64_t bytes, void* to, char* message) {
    const Entry& entry = entries_[tensor];
    const double begin = now_microseconds();
    if (!read_range(entry.file, entry.offset + from, bytes, to)) {
      Text(message, HEDDLE_MESSAGE_BYTES) << "bytes " << entry.offset + from << " to " << entry.offset + from + bytes
                                          << " of a weight file cannot be read: "
                                          << (errno == ENODATA ? "the file has become shorter" : strerror(errno));
      return false;
    }
    if (bytes_per_second_ > 0) {
      posix_fadvise(entry.file, entry.offset + from, bytes, POSIX_FADV_DONTNEED);
      const double end = begin + latency_ + static_cast<double>(bytes) / bytes_per_second_ * 1e6;
      for (double left = end - now_microseconds(); left > 0; left = end - now_microseconds()) {
        const struct timespec rest = {static_cast<time_t>(left / 1e6), static_cast<long>(static_cast<int64_t>(left * 1e3) % 1000000000)};
        nanosleep(&rest, nullptr);
      }
    }
    return true;
  }

  Entry* entries_ = nullptr;
  int32_t count_ = 0;
  double bytes_per_second_ = 0;
  double latency_ = 0;
};

}  // namespace heddle

#endif
