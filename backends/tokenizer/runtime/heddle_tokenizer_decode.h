// Token ids to text. Byte-level tokens are bytes one behind the other; tokens of characters are text, but for those that
// stand for a byte. What is not UTF-8 becomes U+FFFD just as Hugging Face has it. Knows no encoding.
#ifndef HEDDLE_TOKENIZER_DECODE_H
#define HEDDLE_TOKENIZER_DECODE_H

#include "heddle_tokenizer_text.h"

namespace heddle {
namespace tokens {

// Counts what is written beyond its capacity.
struct TextOutput {
  uint8_t* data;
  int64_t capacity;
  int64_t count;

  void write(const uint8_t* from, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++, count++) {
      if (count < capacity) data[count] = from[i];
    }
  }
  void write_replacement() {
    const uint8_t bytes[3] = {0xef, 0xbf, 0xbd};
    write(bytes, 3);
  }
};

// Writes bytes that come in parts, each maximal beginning of a character that is cut off as one U+FFFD.
class LossyText {
 public:
  explicit LossyText(TextOutput& output) : output_(output) {}

  void add(uint8_t byte) {
    held_[count_++] = byte;
    while (count_ > 0) {
      bool is_whole;
      const uint32_t bytes = sound_bytes(held_, held_ + count_, &is_whole);
      if (is_whole) {
        output_.write(held_, bytes);
      } else if (bytes < count_ || !may_go_on()) {
        output_.write_replacement();
      } else {
        return;
      }
      drop(bytes);
    }
  }

  void end() {
    if (count_ > 0) output_.write_replacement();
    count_ = 0;
  }

 private:
  // Whether more bytes can make a character of what is held, all of which is the beginning of one.
  bool may_go_on() const { return held_[0] >= 0xc2 && held_[0] <= 0xf4; }

  void drop(uint32_t bytes) {
    for (uint32_t i = bytes; i < count_; i++) held_[i - bytes] = held_[i];
    count_ -= bytes;
  }

  TextOutput& output_;
  uint8_t held_[4] = {};
  uint32_t count_ = 0;
};

class Decoder {
 public:
  Decoder(const Table& table, const int32_t* ids, int64_t count, bool is_plain)
      : table_(table), ids_(ids), count_(count), is_plain_(is_plain) {}

  bool ids_are_known() const {
    for (int64_t i = 0; i < count_; i++) {
      const uint32_t id = static_cast<uint32_t>(ids_[i]);
      if (id >= table_.size || (table_.token_flags.data[id] & exists_flag) == 0) return false;
    }
    return true;
  }

  void write_bytes(TextOutput& output) const {
    LossyText text(output);
    for (int64_t i = 0; i < count_; i++) {
      if (is_left_out(i)) continue;
      for (const uint8_t* byte = first(i); byte < first(i) + bytes(i); byte++) text.add(*byte);
    }
    text.end();
  }

  void write_characters(TextOutput& output) const {
    for (int64_t i = 0; i < count_;) {
      if (is_left_out(i)) {
        i++;
      } else if (is_byte(i)) {
        i = write_run(i, output);
      } else {
        output.write(first(i), bytes(i));
        i++;
      }
    }
  }

 private:
  // Bytes that stand together are text if all of them are; otherwise each is a U+FFFD.
  int64_t write_run(int64_t from, TextOutput& output) const {
    uint8_t held[4];
    uint32_t count = 0;
    bool is_text = true;
    int64_t to = from;
    int64_t bytes_seen = 0;
    for (; to < count_ && (is_left_out(to) || is_byte(to)); to++) {
      if (is_left_out(to)) continue;
      bytes_seen++;
      held[count++] = *first(to);
      bool is_whole;
      const uint32_t sound = sound_bytes(held, held + count, &is_whole);
      if (is_whole) {
        count = 0;
      } else if (sound < count || held[0] < 0xc2 || held[0] > 0xf4) {
        is_text = false;
        count = 0;
      }
    }
    is_text = is_text && count == 0;
    for (int64_t i = from; i < to; i++) {
      if (is_text && !is_left_out(i)) output.write(first(i), 1);
    }
    for (int64_t i = 0; i < bytes_seen && !is_text; i++) output.write_replacement();
    return to;
  }

  uint8_t flags(int64_t i) const { return table_.token_flags.data[ids_[i]]; }
  bool is_left_out(int64_t i) const { return is_plain_ && (flags(i) & special_flag) != 0; }
  bool is_byte(int64_t i) const { return (flags(i) & byte_flag) != 0; }
  const uint8_t* first(int64_t i) const { return table_.token_bytes.data + table_.token_offsets.data[ids_[i]]; }
  uint32_t bytes(int64_t i) const {
    return table_.token_offsets.data[ids_[i] + 1] - table_.token_offsets.data[ids_[i]];
  }

  const Table& table_;
  const int32_t* ids_;
  int64_t count_;
  bool is_plain_;
};

}  // namespace tokens
}  // namespace heddle

#endif
