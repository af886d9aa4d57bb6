// The test driver around the tokenizer's C ABI. Modes:
//   run TABLE LONGEST   jobs on stdin: kind, flags, count, then that many bytes or ids; a result and its data on stdout.
//                       Kinds: 0 encode, 1 decode, 2 the id of a name.
//   speed TABLE TEXT    best rate over some turns of encoding the text line by line, and as a whole, in MB/s.
//   fuzz TABLE TEXT COUNT SEED   opens and uses that many mutations of the table; a sanitizer does the judging.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "heddle_tokenizer_runtime.h"

namespace {

struct Bytes {
  unsigned char* data;
  int64_t count;
};

// Ends exactly where the memory does, so that a sanitizer sees a byte too many.
Bytes read_file(const char* path) {
  FILE* file = fopen(path, "rb");
  if (file == nullptr) {
    fprintf(stderr, "cannot read %s\n", path);
    exit(2);
  }
  fseek(file, 0, SEEK_END);
  const int64_t count = ftell(file);
  rewind(file);
  unsigned char* data = static_cast<unsigned char*>(malloc(count > 0 ? count : 1));
  if (fread(data, 1, count, file) != static_cast<size_t>(count)) exit(2);
  fclose(file);
  return {data, count};
}

// At the start of its memory, which is to be freed.
heddle_tokenizer* open_or_exit(const Bytes& table, int64_t longest) {
  const int64_t bytes = heddle_tokenizer_memory(table.data, table.count, longest);
  heddle_tokenizer* tokenizer = nullptr;
  const int64_t code = bytes < 0 ? bytes : heddle_tokenizer_open(table.data, table.count, malloc(bytes), bytes, &tokenizer);
  if (code < 0) {
    fprintf(stderr, "%s\n", heddle_tokenizer_sentence(code));
    exit(3);
  }
  return tokenizer;
}

bool read_exactly(void* to, int64_t bytes) { return fread(to, 1, bytes, stdin) == static_cast<size_t>(bytes); }

int run(const Bytes& table, int64_t longest) {
  heddle_tokenizer* tokenizer = open_or_exit(table, longest);
  int32_t job[3];
  while (read_exactly(job, sizeof job)) {
    const int64_t given = job[0] == 1 ? int64_t{4} * job[2] : job[2];
    char* data = static_cast<char*>(malloc(given > 0 ? given : 1));
    if (!read_exactly(data, given)) return 2;
    // Asked twice: first for the number, then with exactly that much room.
    int64_t result = 0;
    int64_t room = 0;
    char* out = nullptr;
    for (int turn = 0; turn < 2; turn++) {
      int32_t* ids = reinterpret_cast<int32_t*>(data);
      if (job[0] == 0) result = heddle_encode(tokenizer, data, given, job[1], reinterpret_cast<int32_t*>(out), room);
      if (job[0] == 1) result = heddle_decode(tokenizer, ids, job[2], job[1], out, room);
      if (job[0] == 2) result = heddle_token_id(tokenizer, data, given);
      if (turn == 1 || result < 0 || job[0] == 2) break;
      room = result;
      out = static_cast<char*>(malloc(room > 0 ? (job[0] == 0 ? 4 : 1) * room : 1));
    }
    const int32_t shown = static_cast<int32_t>(result);
    fwrite(&shown, 4, 1, stdout);
    if (out != nullptr) fwrite(out, job[0] == 0 ? 4 : 1, room, stdout);
    free(out);
    free(data);
  }
  free(tokenizer);
  return 0;
}

double seconds() {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

int64_t encode_lines(heddle_tokenizer* tokenizer, const Bytes& text, int32_t* ids) {
  int64_t count = 0;
  const char* const begin = reinterpret_cast<const char*>(text.data);
  for (int64_t from = 0; from < text.count;) {
    const void* end = memchr(begin + from, '\n', text.count - from);
    const int64_t to = end == nullptr ? text.count : static_cast<const char*>(end) - begin;
    count += heddle_encode(tokenizer, begin + from, to - from, 0, ids, text.count);
    from = to + 1;
  }
  return count;
}

int speed(const Bytes& table, const Bytes& text) {
  const double before = seconds();
  heddle_tokenizer* tokenizer = open_or_exit(table, text.count);
  const double opened = seconds();
  int32_t* ids = static_cast<int32_t*>(malloc(4 * text.count));
  double lines = 1e9;
  double whole = 1e9;
  int64_t count = 0;
  for (int turn = 0; turn < 5; turn++) {
    const double start = seconds();
    count = encode_lines(tokenizer, text, ids);
    const double middle = seconds();
    heddle_encode(tokenizer, reinterpret_cast<const char*>(text.data), text.count, 0, ids, text.count);
    const double end = seconds();
    if (middle - start < lines) lines = middle - start;
    if (end - middle < whole) whole = end - middle;
  }
  printf("{\"tokens\":%lld,\"linesMBps\":%.3f,\"wholeMBps\":%.3f,\"openMs\":%.2f}\n", static_cast<long long>(count),
         text.count / lines / 1e6, text.count / whole / 1e6, (opened - before) * 500);
  free(ids);
  free(tokenizer);
  return 0;
}

uint64_t random_state;

// Marsaglia's xorshift64.
uint32_t random_below(uint32_t bound) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return static_cast<uint32_t>((random_state >> 32) * bound >> 32);
}

// Every third place in the header, the others in a section, each as often as the others: most are small beside the maps.
int64_t random_place(const Bytes& table) {
  using namespace heddle::tokens;
  if (random_below(3) == 0) return 4 + random_below(head_words * 4 - 4);
  const uint32_t* const words = reinterpret_cast<const uint32_t*>(table.data);
  for (;;) {
    const uint32_t* const section = words + 4 + scalar_count + 2 * random_below(section_count);
    if (section[1] == 0) continue;
    const uint32_t at = random_below(section[1]);
    // The ends are where mistakes are.
    return section[0] + (random_below(4) == 0 ? (random_below(2) == 0 ? at % 16 : section[1] - 1 - at % 16) % section[1] : at);
  }
}

// Gives each section memory of its own, so that a sanitizer sees reading from one section into the next.
class Apart {
 public:
  explicit Apart(heddle::tokens::Table& t) {
    take(t.token_offsets), take(t.token_bytes), take(t.token_flags), take(t.byte_ids), take(t.merges), take(t.characters);
    take(t.words), take(t.stages), take(t.transitions), take(t.class_index), take(t.class_blocks), take(t.nodes);
    take(t.edges), take(t.names), take(t.name_text), take(t.before), take(t.after), take(t.replace_from);
    take(t.replace_to), take(t.compose_index), take(t.compose_blocks), take(t.decompositions), take(t.parts), take(t.pairs);
  }
  ~Apart() {
    for (uint32_t i = 0; i < count_; i++) free(held_[i]);
  }

 private:
  template <typename T>
  void take(heddle::tokens::Span<T>& span) {
    const size_t bytes = span.count * sizeof(T);
    void* const own = malloc(bytes);
    memcpy(own, span.data, bytes);
    span.data = static_cast<const T*>(own);
    held_[count_++] = own;
  }
  void* held_[heddle::tokens::section_count];
  uint32_t count_ = 0;
};

int fuzz(const Bytes& table, const Bytes& text, int64_t turns) {
  using namespace heddle::tokens;
  int64_t opened = 0;
  const int64_t memory_bytes = heddle_tokenizer_memory(table.data, table.count, text.count);
  const int32_t size = static_cast<int32_t>(reinterpret_cast<const uint32_t*>(table.data)[4]);
  int32_t ids[512];
  char decoded[512];
  unsigned char* copy = static_cast<unsigned char*>(malloc(table.count));
  unsigned char* memory = static_cast<unsigned char*>(malloc(memory_bytes));
  memcpy(copy, table.data, table.count);
  for (int64_t turn = 0; turn < turns; turn++) {
    int64_t places[4];
    const uint32_t changes = 1 + random_below(3);
    for (uint32_t i = 0; i < changes; i++) {
      places[i] = random_place(table);
      const unsigned char special[4] = {0, 255, 128, 1};
      copy[places[i]] = random_below(2) == 0 ? special[random_below(4)] : static_cast<unsigned char>(random_below(256));
    }
    const uint32_t crc = checksum(copy + 16, table.count - 16);
    memcpy(copy + 12, &crc, 4);
    heddle_tokenizer* tokenizer = nullptr;
    // Sometimes with less memory than it asks for, sometimes cut off.
    const int64_t given = random_below(8) == 0 ? random_below(static_cast<uint32_t>(memory_bytes)) : memory_bytes;
    const int64_t bytes = random_below(64) == 0 ? random_below(static_cast<uint32_t>(table.count)) : table.count;
    if (heddle_tokenizer_open(copy, bytes, memory, given, &tokenizer) == 0) {
      opened++;
      const Apart apart(tokenizer->table);
      const int64_t from = random_below(static_cast<uint32_t>(text.count));
      int64_t count = 1 + random_below(static_cast<uint32_t>(text.count - from));
      if (count > 160) count = 160;
      heddle_encode(tokenizer, reinterpret_cast<const char*>(text.data) + from, count, 1, ids, 512);
      for (int i = 0; i < 24; i++) ids[i] = static_cast<int32_t>(random_below(size));
      heddle_decode(tokenizer, ids, 24, 1, decoded, 512);
      // With as many bytes as the table says a name has, so that all of them are compared.
      const Span<Name>& names = tokenizer->table.names;
      const uint32_t name_bytes = names.count == 0 ? 0 : names.data[random_below(names.count)].bytes;
      heddle_token_id(tokenizer, "<|endoftext|><|endoftext|>", name_bytes < 26 ? name_bytes : 26);
    }
    for (uint32_t i = 0; i < changes; i++) copy[places[i]] = table.data[places[i]];
  }
  printf("{\"turns\":%lld,\"opened\":%lld}\n", static_cast<long long>(turns), static_cast<long long>(opened));
  free(copy);
  free(memory);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const Bytes table = read_file(argv[2]);
  int result = 2;
  if (strcmp(argv[1], "run") == 0) {
    result = run(table, strtoll(argv[3], nullptr, 10));
  } else {
    const Bytes text = read_file(argv[3]);
    if (strcmp(argv[1], "speed") == 0) result = speed(table, text);
    if (strcmp(argv[1], "fuzz") == 0 && argc == 6) {
      random_state = strtoull(argv[5], nullptr, 10) | 1;
      result = fuzz(table, text, strtoll(argv[4], nullptr, 10));
    }
    free(text.data);
  }
  free(table.data);
  return result;
}
