// The command line's two ends: lines and declared numbers of raw bytes in, JSON lines and raw bytes out, over file
// descriptors. Buffers are fixed; a line that is too long is refused. Knows no command.
#ifndef HEDDLE_CHANNEL_H
#define HEDDLE_CHANNEL_H

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

namespace heddle {

class Input {
 public:
  static constexpr int32_t most_line = 16384;

  explicit Input(int file) : file_(file) {}

  // The next line without its end, or null at the end of the input or when it is too long. Valid until the next read.
  char* line() {
    for (;;) {
      char* end = static_cast<char*>(memchr(buffer_ + begin_, '\n', static_cast<size_t>(end_ - begin_)));
      if (end != nullptr) {
        char* line = buffer_ + begin_;
        *end = 0;
        begin_ = static_cast<int32_t>(end - buffer_) + 1;
        return line;
      }
      if (begin_ > 0) {
        memmove(buffer_, buffer_ + begin_, static_cast<size_t>(end_ - begin_));
        end_ -= begin_;
        begin_ = 0;
      }
      if (end_ == most_line || !fill()) return nullptr;
    }
  }

  // Reads exactly `bytes` into `target`; a null target throws them away.
  bool bytes(void* target, int64_t bytes) {
    unsigned char* to = static_cast<unsigned char*>(target);
    while (bytes > 0) {
      if (begin_ == end_) {
        // Large payloads go straight to their place.
        if (to != nullptr && bytes >= most_line) {
          const ssize_t count = read_some(to, bytes);
          if (count <= 0) return false;
          to += count;
          bytes -= count;
          continue;
        }
        begin_ = end_ = 0;
        if (!fill()) return false;
      }
      const int64_t ready = end_ - begin_;
      const int64_t count = ready < bytes ? ready : bytes;
      if (to != nullptr) {
        memcpy(to, buffer_ + begin_, static_cast<size_t>(count));
        to += count;
      }
      begin_ += static_cast<int32_t>(count);
      bytes -= count;
    }
    return true;
  }

  enum class Arrived { nothing, something, end };

  // What stands in the input, without waiting and without taking it.
  Arrived arrived() {
    struct pollfd poll_one = {file_, POLLIN, 0};
    if (end_ < most_line && poll(&poll_one, 1, 0) > 0 && !fill() && begin_ == end_) return Arrived::end;
    return begin_ == end_ ? Arrived::nothing : Arrived::something;
  }

  // Sleeps until something arrives, but no longer than this.
  void wait(double milliseconds) {
    const int longest = milliseconds > 3600000.0 ? 3600000 : static_cast<int>(milliseconds + 0.999);
    struct pollfd poll_one = {file_, POLLIN, 0};
    // Where nothing more can be taken in, an input that is ready would be no reason to wake.
    const bool full = end_ == most_line || ended_;
    poll(full ? nullptr : &poll_one, full ? 0 : 1, full && longest > 100 ? 100 : longest);
  }

  // Nothing more will come; what came before may still be here.
  bool ended() const { return ended_; }

  // Whether the next line has arrived whole and begins with `word` and a space.
  bool next_is(const char* word) const {
    const size_t length = strlen(word);
    const size_t ready = static_cast<size_t>(end_ - begin_);
    return ready > length && memcmp(buffer_ + begin_, word, length) == 0 && buffer_[begin_ + length] == ' ' &&
           memchr(buffer_ + begin_, '\n', ready) != nullptr;
  }

 private:
  ssize_t read_some(void* target, int64_t bytes) {
    for (;;) {
      const ssize_t count = read(file_, target, static_cast<size_t>(bytes));
      if (count >= 0 || errno != EINTR) return count;
    }
  }

  bool fill() {
    const ssize_t count = read_some(buffer_ + end_, most_line - end_);
    ended_ = ended_ || count <= 0;
    if (count <= 0) return false;
    end_ += static_cast<int32_t>(count);
    return true;
  }

  int file_;
  bool ended_ = false;
  int32_t begin_ = 0;
  int32_t end_ = 0;
  char buffer_[most_line];
};

// One JSON object per line, built in a fixed buffer and written as a whole.
class Output {
 public:
  explicit Output(int file) : file_(file) {}

  Output& begin() {
    used_ = 0;
    first_ = true;
    put('{');
    return *this;
  }

  Output& field(const char* key, const char* text) {
    name(key);
    string(text);
    return *this;
  }

  Output& field(const char* key, int64_t number) {
    name(key);
    char digits[32];
    raw(digits, snprintf(digits, sizeof digits, "%lld", static_cast<long long>(number)));
    return *this;
  }

  Output& field(const char* key, bool truth) {
    name(key);
    raw(truth ? "true" : "false", truth ? 4 : 5);
    return *this;
  }

  // Three digits behind the point.
  Output& field(const char* key, double number) {
    name(key);
    char digits[64];
    raw(digits, snprintf(digits, sizeof digits, "%.3f", number));
    return *this;
  }

  // Opens an array of objects; `item` starts each one, `close` ends it.
  Output& list(const char* key) {
    name(key);
    put('[');
    first_ = true;
    return *this;
  }

  Output& item() {
    if (!first_) put(',');
    put('{');
    first_ = true;
    return *this;
  }

  Output& end_item() {
    put('}');
    first_ = false;
    return *this;
  }

  Output& end_list() {
    put(']');
    first_ = false;
    return *this;
  }

  bool end() {
    put('}');
    put('\n');
    return flush();
  }

  bool bytes(const void* data, int64_t bytes) {
    const unsigned char* from = static_cast<const unsigned char*>(data);
    while (bytes > 0) {
      const ssize_t count = write(file_, from, static_cast<size_t>(bytes));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return false;
      from += count;
      bytes -= count;
    }
    return true;
  }

 private:
  void name(const char* key) {
    if (!first_) put(',');
    first_ = false;
    string(key);
    put(':');
  }

  void string(const char* text) {
    put('"');
    for (; *text != 0; text++) {
      const unsigned char character = static_cast<unsigned char>(*text);
      if (character == '"' || character == '\\') put('\\');
      if (character < 0x20) {
        char escape[8];
        raw(escape, snprintf(escape, sizeof escape, "\\u%04x", character));
      } else {
        put(static_cast<char>(character));
      }
    }
    put('"');
  }

  void raw(const char* text, int32_t count) {
    for (int32_t index = 0; index < count; index++) put(text[index]);
  }

  void put(char character) {
    if (used_ == static_cast<int32_t>(sizeof buffer_) && !flush()) return;
    buffer_[used_++] = character;
  }

  bool flush() {
    const bool done = bytes(buffer_, used_);
    used_ = 0;
    return done;
  }

  int file_;
  int32_t used_ = 0;
  bool first_ = true;
  char buffer_[8192];
};

}  // namespace heddle

#endif
