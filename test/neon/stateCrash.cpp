// The power fails at every moment of a state file's life. What was written since the last synchronisation is on the medium in
// part: any of it, in any order, the last request cut at a sector. Whatever is left must hold a whole version, the last that
// was said to stand or a later one. Prints how many files were looked at.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

// What was asked of the file since it was made; no data: a synchronisation.
struct Request {
  int64_t offset;
  int64_t bytes;
  unsigned char* data;
  int64_t stood;  // the version that was said to stand by then
};

constexpr int32_t most_requests = 4096;
Request requests[most_requests];
int32_t request_count = 0;
int64_t stands = 0;
bool logging = false;

Request& next_request() {
  if (request_count == most_requests) abort();
  requests[request_count].stood = stands;
  return requests[request_count++];
}

ssize_t logged_pwrite(int file, const void* data, size_t bytes, off_t offset) {
  if (logging) {
    Request& request = next_request();
    request.offset = offset;
    request.bytes = static_cast<int64_t>(bytes);
    request.data = static_cast<unsigned char*>(malloc(bytes));
    memcpy(request.data, data, bytes);
  }
  return pwrite(file, data, bytes, offset);
}

int logged_fdatasync(int) {
  if (logging) next_request().data = nullptr;
  return 0;
}

}  // namespace

#define pwrite logged_pwrite
#define fdatasync logged_fdatasync
#include "heddle_stored.h"
#undef pwrite
#undef fdatasync

namespace {

constexpr int32_t value_count = 4;
constexpr int64_t sizes[value_count] = {5000, 64, 300, 9000};
constexpr bool versions[value_count] = {true, true, false, true};
constexpr int64_t state_bytes = 200;
constexpr int64_t slot_bytes = 4096 + 8192 + 4096 + 12288;
constexpr int64_t total_bytes = 4096 + 2 * slot_bytes + 4096;
constexpr int32_t most_versions = 64;

// What a slot holds but the gaps: the state, then the values with versions where they lie.
struct Content {
  unsigned char state[state_bytes];
  unsigned char values[value_count][9000];
};

Content now;  // what the session would have
Content held[most_versions];
unsigned char image[total_bytes];
uint32_t random_state = 12345;

uint32_t draw() {
  random_state = random_state * 1664525u + 1013904223u;
  return random_state >> 8;
}

void check(bool done, const char* message) {
  if (done) return;
  puts(message);
  exit(1);
}

int64_t number_at(const unsigned char* bytes) {
  uint64_t number = 0;
  for (int32_t index = 7; index >= 0; index--) number = number << 8 | bytes[index];
  return static_cast<int64_t>(number);
}

// The number that no other file has.
int64_t identity = 0;

uint64_t check_of(int64_t version, int64_t slot) {
  const int64_t numbers[] = {version, slot, slot_bytes, total_bytes, identity};
  uint64_t hash = 14695981039346656037u;
  for (const int64_t number : numbers) {
    for (int32_t byte = 0; byte < 8; byte++) hash = (hash ^ (static_cast<uint64_t>(number) >> (8 * byte) & 255)) * 1099511628211u;
  }
  return hash;
}

// The latest version that the image holds, 0 for none; ends where one is not whole.
int64_t latest(int32_t moment) {
  int64_t found = 0;
  for (int32_t slot = 0; slot < 2; slot++) {
    const unsigned char* record = image + 1024 + 1024 * slot;
    const int64_t version = number_at(record);
    if (version <= 0 || static_cast<uint64_t>(number_at(record + 8)) != check_of(version, slot)) continue;
    const unsigned char* begin = image + 4096 + slot * slot_bytes;
    const Content& content = held[version];
    bool whole = memcmp(begin, content.state, state_bytes) == 0;
    int64_t offset = 4096;
    for (int32_t index = 0; index < value_count; index++) {
      if (!versions[index]) continue;
      whole = whole && memcmp(begin + offset, content.values[index], static_cast<size_t>(sizes[index])) == 0;
      offset += (sizes[index] + 4095) / 4096 * 4096;
    }
    if (!whole) {
      printf("version %ld is not whole after request %d of %d\n", static_cast<long>(version), moment, request_count);
      exit(1);
    }
    found = version > found ? version : found;
  }
  return found;
}

void apply(const Request& request, int64_t bytes) { memcpy(image + request.offset, request.data, static_cast<size_t>(bytes)); }

// All that may be left when the power fails behind `moment` requests, of which those from `first` on are not synchronised.
int32_t fail_at(int32_t moment, int32_t first, const unsigned char* durable) {
  const int32_t pending = moment - first;
  const bool all = pending <= 6;
  const int32_t turns = all ? 1 << pending : 40;
  const int64_t stood = moment < request_count ? requests[moment].stood : stands;
  for (int32_t turn = 0; turn < turns; turn++) {
    memcpy(image, durable, total_bytes);
    const uint32_t chosen = all ? static_cast<uint32_t>(turn) : turn == 0 ? ~0u : draw();
    for (int32_t index = first; index < moment; index++) {
      const Request& request = requests[index];
      if ((chosen >> ((index - first) % 24) & 1u) == 0) continue;
      const int64_t sectors = request.bytes / 512;
      const bool torn = turn % 3 == 1 && sectors > 0;
      apply(request, torn ? 512 * (draw() % static_cast<uint32_t>(sectors)) : request.bytes);
    }
    if (latest(moment) < stood) {
      printf("version %ld is lost after request %d of %d\n", static_cast<long>(stood), moment, request_count);
      exit(1);
    }
  }
  return turns;
}

void fail_everywhere() {
  static unsigned char durable[total_bytes];
  int32_t first = 0;
  long files = 0;
  for (int32_t moment = 0; moment <= request_count; moment++) {
    files += fail_at(moment, first, durable);
    if (moment == request_count || requests[moment].data != nullptr) continue;
    for (; first < moment; first++) {
      memcpy(image, durable, total_bytes);
      apply(requests[first], requests[first].bytes);
      memcpy(durable, image, total_bytes);
    }
    first = moment + 1;
  }
  printf("%ld files, version %ld\n", files, static_cast<long>(stands));
}

void scramble(unsigned char* bytes, int64_t count) {
  for (int64_t index = 0; index < count; index++) bytes[index] = static_cast<unsigned char>(draw());
}

char message[HEDDLE_MESSAGE_BYTES];

// Of the slot that the session would have: each word times its odd place, word by word.
uint64_t sum_of_now() {
  uint64_t sum = 0;
  uint64_t place = 0;
  const auto add = [&](const unsigned char* bytes, int64_t count) {
    for (int64_t index = 0; index < count; index += 4, place++) {
      sum += (2 * place + 1) * (bytes[index] | uint64_t{bytes[index + 1]} << 8 | uint64_t{bytes[index + 2]} << 16 | uint64_t{bytes[index + 3]} << 24);
    }
    place = (place + 1023) / 1024 * 1024;
  };
  add(now.state, state_bytes);
  for (int32_t index = 0; index < value_count; index++) {
    if (versions[index]) add(now.values[index], sizes[index]);
  }
  return sum;
}

void keep(heddle::StateFile& file) {
  held[file.version() + 1] = now;
  check(file.keep(message), message);
  check(file.sum() == sum_of_now(), "the sum of what was kept is another");
  stands = file.version();
}

void bring(heddle::StateFile& file, int32_t index) {
  scramble(now.values[index], sizes[index]);
  check(file.begin_write(index, message), message);
  for (int64_t from = 0; from < sizes[index]; from += 2000) {
    const int64_t bytes = sizes[index] - from < 2000 ? sizes[index] - from : 2000;
    check(file.write(index, from, bytes, now.values[index] + from, message), message);
  }
}

void bring_state(heddle::StateFile& file) {
  scramble(now.state, state_bytes);
  file.state_written();
}

void update(heddle::StateFile& file) {
  // What was brought may become a version of its own.
  held[file.version() + 1] = now;
  check(file.begin_update(message), message);
  stands = file.version();
  for (int32_t index = 0; index < value_count; index++) {
    scramble(now.values[index], sizes[index]);
    for (int64_t from = 0; from < sizes[index]; from += 3000) {
      const int64_t bytes = sizes[index] - from < 3000 ? sizes[index] - from : 3000;
      const heddle::FilePlace place = file.next_place(index, from);
      check(heddle::write_range(place.file, place.offset, bytes, now.values[index] + from), "a write failed");
      file.wrote_next(index, from, bytes, now.values[index] + from);
    }
  }
  scramble(now.state, state_bytes);
  // In pieces, in any order.
  for (int64_t from = 120; from >= 0; from -= 120) {
    const int64_t bytes = from == 0 ? 120 : state_bytes - from;
    const heddle::FilePlace place = file.next_place(heddle::StateFile::carried, from);
    check(heddle::write_range(place.file, place.offset, bytes, now.state + from), "a write failed");
    file.wrote_next(heddle::StateFile::carried, from, bytes, now.state + from);
  }
  held[file.version() + 1] = now;
  check(file.end_update(message), message);
  check(file.sum() == sum_of_now(), "the sum of an update is another");
  stands = file.version();
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) return 2;
  static const int64_t shape[1] = {1};
  heddle_value values[value_count];
  for (int32_t index = 0; index < value_count; index++) {
    values[index] = {"value", HEDDLE_STATE, HEDDLE_F32, {HEDDLE_IN_STORAGE, index}, sizes[index], 1, shape, HEDDLE_NO_INITIAL, 0, 1, versions[index] ? 1 : 0};
  }
  heddle_program program = {};
  program.values = values;
  program.value_count = value_count;
  program.stored_count = value_count;
  program.carried_bytes = state_bytes;
  static heddle::StateFile file;
  check(file.reserve(program), "no memory");
  check(file.create(words[1], heddle::Text(message, HEDDLE_MESSAGE_BYTES)), message);
  file.remember(now.state);
  struct stat status;
  check(stat(words[1], &status) == 0 && status.st_size == total_bytes, "the file has another size");
  unsigned char head[40];
  const int written = open(words[1], O_RDONLY);
  check(written >= 0 && pread(written, head, sizeof head, 0) == sizeof head, "the file has no head");
  close(written);
  identity = number_at(head + 32);
  check(identity != 0, "the file has no number");
  logging = true;
  // Values are brought, trained and kept in every order in which one may follow the other.
  update(file);
  bring(file, 3);
  update(file);
  update(file);
  keep(file);
  bring(file, 0);
  bring(file, 1);
  keep(file);
  keep(file);
  bring_state(file);
  keep(file);
  bring_state(file);
  update(file);
  bring(file, 2);
  bring_state(file);
  bring(file, 0);
  update(file);
  bring(file, 3);
  keep(file);
  update(file);
  logging = false;
  fail_everywhere();
  for (int32_t index = 0; index < request_count; index++) free(requests[index].data);
  return 0;
}
