// Ranges of files: read and written whole, kept out of the page cache, and no faster than a device would. Knows neither
// tensors nor formats.
#ifndef HEDDLE_FILES_H
#define HEDDLE_FILES_H

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "heddle_platform.h"

namespace heddle {

// A byte of an open file.
struct FilePlace {
  int file;
  int64_t offset;
};

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

// Writes exactly `bytes` bytes; false with errno otherwise.
inline bool write_range(int file, int64_t offset, int64_t bytes, const void* data) {
  int64_t done = 0;
  while (done < bytes) {
    const ssize_t count = pwrite(file, static_cast<const char*>(data) + done, static_cast<size_t>(bytes - done), offset + done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      errno = count == 0 ? ENOSPC : errno;
      return false;
    }
    done += count;
  }
  return true;
}

// What was written is on the medium, and where the file ends; false with errno otherwise.
inline bool synchronise(int file) {
  int code;
  do {
    code = fdatasync(file);
  } while (code != 0 && errno == EINTR);
  return code == 0;
}

// Tells the system of a range that will be read soon.
inline void ask_range(int file, int64_t offset, int64_t bytes) { posix_fadvise(file, offset, bytes, POSIX_FADV_WILLNEED); }

// Leaves nothing of a range in the page cache, also of one that was just written.
inline void drop_range(int file, int64_t offset, int64_t bytes, bool written) {
#if defined(__linux__)
  const unsigned int whole = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  if (written) (void)sync_file_range(file, offset, bytes, whole);
#else
  if (written) (void)fdatasync(file);
#endif
  posix_fadvise(file, offset, bytes, POSIX_FADV_DONTNEED);
}

// Makes requests take as long as on a device with these figures.
class Pacer {
 public:
  // In bytes a second and microseconds of a request.
  void set(double read_rate, double write_rate, double latency) {
    read_rate_ = read_rate;
    write_rate_ = write_rate;
    latency_ = latency;
  }

  bool on() const { return read_rate_ > 0; }

  // One more request that will be made soon: of those that are asked for at once, as many as a device has under way wait for their
  // first bytes together.
  void ask() {
    if (asked_++ == 0) {
      asked_at_ = now_microseconds();
      answered_ = 0;
    }
  }

  // Nothing that was asked for will be made.
  void forget() { asked_ = 0; }

  // Rests until a request that began then may be over. A system wakes sleepers late: what a rest was too long is taken off the
  // request that follows at once, as a device would have begun that one in time.
  void rest(double begin, int64_t bytes, bool written) {
    const double start = begin - woken_ < at_once ? over_ : begin;
    double moves = start + latency_;
    if (asked_ > 0) {
      asked_--;
      const double there = asked_at_ + latency_ * static_cast<double>(1 + answered_++ / under_way);
      moves = there > start ? there : start;
    }
    const double end = moves + static_cast<double>(bytes) / (written ? write_rate_ : read_rate_) * 1e6;
    const double arrived = now_microseconds();
    over_ = end > arrived ? end : arrived;
    for (double left = end - arrived; left > 0; left = end - now_microseconds()) {
      const struct timespec rest = {static_cast<time_t>(left / 1e6), static_cast<long>(static_cast<int64_t>(left * 1e3) % 1000000000)};
      nanosleep(&rest, nullptr);
    }
    woken_ = now_microseconds();
  }

 private:
  double read_rate_ = 0;
  double write_rate_ = 0;
  double latency_ = 0;
  // Requests that a device has under way: the depth of the queue of UFS and of SATA, and less than that of NVMe.
  static constexpr int64_t under_way = 32;
  // Microseconds.
  static constexpr double at_once = 100;
  double over_ = 0;    // when the last request was over
  double woken_ = 0;   // when that was noticed
  double asked_at_ = 0;
  int64_t asked_ = 0;
  int64_t answered_ = 0;
};

}  // namespace heddle

#endif
