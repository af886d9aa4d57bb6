// The normalizers: replacing a text by another, and composing as NFC does (Unicode Standard Annex 15, sections 1.3 and 9;
// Hangul as in section 3.12 of the Unicode Standard). Output goes to memory that is given. Knows no token.
#ifndef HEDDLE_TOKENIZER_COMPOSE_H
#define HEDDLE_TOKENIZER_COMPOSE_H

#include "heddle_tokenizer_text.h"

namespace heddle {
namespace tokens {

// Bytes that are written one behind the other; `fits` turns false where there is no room.
struct Output {
  uint8_t* data;
  int64_t capacity;
  int64_t count;
  bool fits;

  void write(const uint8_t* from, int64_t bytes) {
    fits = fits && bytes <= capacity - count;
    if (!fits) return;
    copy_bytes(data + count, from, bytes);
    count += bytes;
  }
};

inline void replace_all(const Table& table, const uint8_t* text, const uint8_t* end, Output& output) {
  const Span<uint8_t>& from = table.replace_from;
  const uint8_t* kept = text;
  while (end - text >= static_cast<int64_t>(from.count)) {
    if (!same_bytes(text, from.data, from.count)) {
      text++;
      continue;
    }
    output.write(kept, text - kept);
    output.write(table.replace_to.data, table.replace_to.count);
    text += from.count;
    kept = text;
  }
  output.write(kept, end - kept);
}

// Composes the pieces of a text that are not composed already.
class Composer {
 public:
  // `scratch`: room for so many code points, of which half are used at most.
  Composer(const Table& table, uint32_t* scratch, int64_t room) : table_(table), marks_(scratch), most_(room / 2) {}

  void compose(const uint8_t* text, const uint8_t* end, Output& output) {
    const uint8_t* written = text;  // what is before it is in the output
    const uint8_t* piece = text;    // where the last piece that can be composed by itself begins
    uint32_t last_rank = 0;
    while (text < end) {
      const Decoded one = decode(text, end);
      const uint8_t property = one.code < 0x80 ? 0 : property_of(one.code);
      const uint32_t rank = property & rank_bits;
      if (property == 0) {
        piece = text;
      } else if ((property & changes_bit) != 0 || rank < last_rank) {
        output.write(written, piece - written);
        text = rewrite(piece, text + one.bytes, end, output);
        written = piece = text;
        last_rank = 0;
        continue;
      }
      last_rank = rank;
      text += one.bytes;
    }
    output.write(written, end - written);
  }

 private:
  static constexpr uint32_t rank_bits = 0x3f;
  static constexpr uint32_t changes_bit = 0x40;
  static constexpr uint32_t code_bits = 0x1fffff;
  static constexpr uint32_t rank_shift = 24;
  static constexpr uint32_t hangul = 0xac00, hangul_count = 11172;
  static constexpr uint32_t leads = 0x1100, lead_count = 19;
  static constexpr uint32_t vowels = 0x1161, vowel_count = 21;
  static constexpr uint32_t before_finals = 0x11a7, final_count = 28;

  uint8_t property_of(uint32_t code) const { return mapped(table_.compose_index, table_.compose_blocks, code); }

  // Composes from `piece` to the next place behind `text` where another piece begins, which it returns.
  const uint8_t* rewrite(const uint8_t* piece, const uint8_t* text, const uint8_t* end, Output& output) {
    while (text < end) {
      const Decoded one = decode(text, end);
      if (one.code < 0x80 || property_of(one.code) == 0) break;
      text += one.bytes;
    }
    count_ = 0;
    for (const uint8_t* at = piece; at < text;) {
      const Decoded one = decode(at, end);
      decompose(one.code, output);
      at += one.bytes;
    }
    if (!output.fits) return text;
    order();
    join();
    uint8_t bytes[4];
    for (int64_t i = 0; i < count_; i++) output.write(bytes, encode(marks_[i] & code_bits, bytes));
    return text;
  }

  void push(uint32_t code, Output& output) {
    if (count_ == most_) output.fits = false;
    if (!output.fits) return;
    marks_[count_++] = code | (property_of(code) & rank_bits) << rank_shift;
  }

  void decompose(uint32_t code, Output& output) {
    if (code - hangul < hangul_count) {
      const uint32_t index = code - hangul;
      push(leads + index / (vowel_count * final_count), output);
      push(vowels + index % (vowel_count * final_count) / final_count, output);
      if (index % final_count != 0) push(before_finals + index % final_count, output);
      return;
    }
    uint32_t low = 0;
    uint32_t high = table_.decompositions.count;
    while (low < high) {
      const uint32_t middle = low + (high - low) / 2;
      const Decomposition& row = table_.decompositions.data[middle];
      if (row.code == code) {
        for (uint32_t i = 0; i < row.count; i++) push(table_.parts.data[row.first + i], output);
        return;
      }
      if (row.code < code) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    push(code, output);
  }

  // Puts every run of marks into the order of their ranks, equal ones as they stood.
  void order() {
    for (int64_t first = 0; first < count_;) {
      int64_t last = first;
      bool is_ordered = true;
      while (last < count_ && marks_[last] >> rank_shift != 0) {
        if (last > first && marks_[last] >> rank_shift < marks_[last - 1] >> rank_shift) is_ordered = false;
        last++;
      }
      if (!is_ordered) sort(first, last);
      first = last + 1;
    }
  }

  // By counting, so that a text of nothing but marks takes linear time.
  void sort(int64_t first, int64_t last) {
    int64_t places[rank_bits + 2] = {};
    for (int64_t i = first; i < last; i++) places[(marks_[i] >> rank_shift) + 1]++;
    for (uint32_t rank = 1; rank <= rank_bits; rank++) places[rank] += places[rank - 1];
    uint32_t* const sorted = marks_ + most_;
    for (int64_t i = first; i < last; i++) sorted[places[marks_[i] >> rank_shift]++] = marks_[i];
    for (int64_t i = first; i < last; i++) marks_[i] = sorted[i - first];
  }

  void join() {
    int64_t kept = 0;
    int64_t starter = -1;
    uint32_t last_rank = 0;
    for (int64_t i = 0; i < count_; i++) {
      const uint32_t rank = marks_[i] >> rank_shift;
      // Not blocked: next to the starter, or behind marks of lower classes only.
      if (starter >= 0 && (kept == starter + 1 || last_rank < rank)) {
        const uint32_t made = composed(marks_[starter] & code_bits, marks_[i] & code_bits);
        if (made != none) {
          marks_[starter] = made;
          continue;
        }
      }
      if (rank == 0) starter = kept;
      last_rank = rank;
      marks_[kept++] = marks_[i];
    }
    count_ = kept;
  }

  uint32_t composed(uint32_t first, uint32_t second) const {
    if (first - leads < lead_count && second - vowels < vowel_count) {
      return hangul + ((first - leads) * vowel_count + second - vowels) * final_count;
    }
    const bool is_open = first - hangul < hangul_count && (first - hangul) % final_count == 0;
    if (is_open && second - before_finals - 1 < final_count - 1) return first + second - before_finals;
    uint32_t low = 0;
    uint32_t high = table_.pairs.count;
    while (low < high) {
      const uint32_t middle = low + (high - low) / 2;
      const Pair& pair = table_.pairs.data[middle];
      if (pair.first == first && pair.second == second) return pair.composed;
      if (pair.first < first || (pair.first == first && pair.second < second)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return none;
  }

  const Table& table_;
  uint32_t* marks_;  // code point, rank above it
  int64_t most_;
  int64_t count_ = 0;
};

}  // namespace tokens
}  // namespace heddle

#endif
