// A C++ program that times requests to storage past the page cache, which Node has no call for. It makes one file, removes
// its name at once, so that nothing stays however it ends, and prints a line for each thing it has timed.

import type { Source } from '../../../backends/neon/toolchain/index.ts'

/** Sizes of requests in bytes, in the order in which each run takes them. */
export const requestSizes = [4096, 65536, 1 << 20, 4 << 20] as const

const text = `#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

namespace {

constexpr int64_t kSizes[] = {${requestSizes.join(', ')}};
constexpr int64_t kLargest = ${Math.max(...requestSizes)};
constexpr int64_t kSmallest = ${Math.min(...requestSizes)};
uint64_t state = 88172645463325252u;

uint64_t Random() {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

double Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

int Fail(const char *what) {
  printf("failed %s %d %s\\n", what, errno, strerror(errno));
  return 1;
}

// Whole requests only: less than was asked for is an error here.
bool Transfer(bool writes, int file, char *bytes, int64_t size, int64_t at) {
  int64_t done = 0;
  while (done < size) {
    const ssize_t count = writes ? pwrite(file, bytes + done, size - done, at + done)
                                 : pread(file, bytes + done, size - done, at + done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += count;
  }
  return true;
}

// Makes requests go past the page cache; says how.
const char *GoPastCache(int file, char *bytes) {
#if defined(O_DIRECT)
  const int flags = fcntl(file, F_GETFL);
  if (flags >= 0 && fcntl(file, F_SETFL, flags | O_DIRECT) == 0) {
    if (Transfer(false, file, bytes, kSmallest, 0)) return "direct";
    fcntl(file, F_SETFL, flags);
  }
#endif
#if defined(F_NOCACHE)
  (void)bytes;
  if (fcntl(file, F_NOCACHE, 1) == 0) return "nocache";
#endif
#if defined(POSIX_FADV_DONTNEED)
  return "dropped";
#else
  return "cached";
#endif
}

void DropCache(int file) {
#if defined(POSIX_FADV_DONTNEED)
  posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
#else
  (void)file;
#endif
}

int Sync(int file) {
#if defined(F_FULLFSYNC)
  return fcntl(file, F_FULLFSYNC);
#else
  return fsync(file);
#endif
}

}  // namespace

// Operands: the file to make, its bytes, most bytes and most seconds of a run, runs.
int main(int count, char **operands) {
  if (count != 6) return 2;
  const int64_t size = atoll(operands[2]), runBytes = atoll(operands[3]);
  const double runSeconds = atof(operands[4]);
  const int runs = atoi(operands[5]);
  setvbuf(stdout, nullptr, _IOLBF, 0);
  void *memory = nullptr;
  if (posix_memalign(&memory, 65536, kLargest) != 0) return Fail("memory");
  char *bytes = static_cast<char *>(memory);
  // Numbers that no disk makes smaller.
  for (int64_t at = 0; at < kLargest; at += 8) {
    const uint64_t word = Random();
    memcpy(bytes + at, &word, 8);
  }
  const int file = open(operands[1], O_RDWR | O_CREAT | O_EXCL, 0600);
  if (file < 0) return Fail("open");
  unlink(operands[1]);
  for (int64_t at = 0; at < size; at += kLargest) {
    if (!Transfer(true, file, bytes, kLargest, at)) return Fail("write");
    if (at % (8 * kLargest) == 0 && Sync(file) != 0) return Fail("write");
    printf("laid %lld\\n", static_cast<long long>(at + kLargest));
  }
  if (Sync(file) != 0) return Fail("write");
  const char *mode = GoPastCache(file, bytes);
  printf("mode %s\\n", mode);
  for (int run = 0; run < runs; run++) {
    for (const int64_t request : kSizes) {
      for (int writes = 0; writes < 2; writes++) {
        if (strcmp(mode, "direct") != 0) DropCache(file);
        const int64_t places = size / request, most = runBytes / request > 0 ? runBytes / request : 1;
        // The smallest come from anywhere; larger ones follow one another.
        const bool jumps = request == kSmallest;
        int64_t place = static_cast<int64_t>(Random() % static_cast<uint64_t>(places)), done = 0;
        const double start = Now();
        do {
          if (!Transfer(writes == 1, file, bytes, request, place * request)) return Fail(writes ? "write" : "read");
          place = jumps ? static_cast<int64_t>(Random() % static_cast<uint64_t>(places)) : (place + 1) % places;
          done++;
        } while (done < most && Now() - start < runSeconds);
        // What was written counts once it is on the medium.
        if (writes == 1 && Sync(file) != 0) return Fail("write");
        printf("%s %lld %lld %.9f\\n", writes ? "write" : "read", static_cast<long long>(request),
               static_cast<long long>(done), Now() - start);
      }
    }
  }
  return 0;
}
`

export const storageSource: Source = { name: 'storage.cpp', text }
