// Frozen tensors of a native session: ranges of files, checked against the files and mapped read-only, so that the
// system may drop and reread their pages. Knows no file format.
#ifndef HEDDLE_FROZEN_H
#define HEDDLE_FROZEN_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "heddle.h"
#include "heddle_text.h"

namespace heddle {

// Alignment that reads of an element need.
inline int64_t element_bytes(int32_t dtype) { return dtype == HEDDLE_F16 || dtype == HEDDLE_BF16 ? 2 : 4; }

// Copies a range of a file that does not begin at a multiple of its element: some writers leave headers unpadded.
inline bool copy_range(int file, int64_t offset, int64_t bytes, heddle_frozen* frozen) {
  void* memory = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  int64_t done = 0;
  while (done < bytes) {
    const ssize_t count = pread(file, static_cast<char*>(memory) + done, static_cast<size_t>(bytes - done), offset + done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      munmap(memory, static_cast<size_t>(bytes));
      errno = count == 0 ? ENODATA : errno;
      return false;
    }
    done += count;
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

// Makes `bytes` bytes of a regular file readable. Mappings last until the process ends.
inline bool open_range(const char* path, int64_t offset, int64_t bytes, int64_t element, heddle_frozen* frozen, Text message) {
  // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
  const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) {
    message << path << ": " << strerror(errno);
    return false;
  }
  struct stat status;
  bool done = false;
  if (fstat(file, &status) != 0) {
    message << path << ": " << strerror(errno);
  } else if (!S_ISREG(status.st_mode)) {
    message << path << ": this is not a regular file";
  } else if (offset < 0 || bytes <= 0 || bytes > status.st_size || offset > status.st_size - bytes) {
    message << path << ": the tensor ends at byte " << offset + bytes << ", the file has " << int64_t{status.st_size};
  } else {
    done = offset % element == 0 ? map_range(file, offset, bytes, frozen) : copy_range(file, offset, bytes, frozen);
    if (!done) message << path << ": " << strerror(errno);
  }
  close(file);
  return done;
}

}  // namespace heddle

#endif
