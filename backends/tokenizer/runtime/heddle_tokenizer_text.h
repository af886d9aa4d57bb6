// UTF-8 and the table's maps over code points. Text is checked once where it comes in; decoding is safe on any bytes all the
// same. Knows no token.
#ifndef HEDDLE_TOKENIZER_TEXT_H
#define HEDDLE_TOKENIZER_TEXT_H

#include "heddle_tokenizer_table.h"

namespace heddle {
namespace tokens {

constexpr uint32_t replacement_character = 0xfffd;

inline void copy_bytes(uint8_t* to, const uint8_t* from, int64_t count) {
  // One instruction in wasm, where there is no C library to call.
  __builtin_memcpy(to, from, static_cast<size_t>(count));
}

inline bool same_bytes(const uint8_t* a, const uint8_t* b, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

struct Decoded {
  uint32_t code;
  uint32_t bytes;  // 0: not UTF-8
};

// How many bytes at `text` (at least one) are the beginning of a character, and whether they are all of it: the ranges of
// Unicode 3.9, table 3-7. Bytes that begin nothing count as one.
inline uint32_t sound_bytes(const uint8_t* text, const uint8_t* end, bool* is_whole) {
  const uint8_t lead = text[0];
  *is_whole = lead < 0x80;
  if (lead < 0xc2 || lead > 0xf4) return 1;
  const uint32_t wanted = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  const uint8_t least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const uint8_t most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  uint32_t count = 1;
  while (count < wanted && text + count < end) {
    const uint8_t byte = text[count];
    if (byte < (count == 1 ? least : 0x80) || byte > (count == 1 ? most : 0xbf)) break;
    count++;
  }
  *is_whole = count == wanted;
  return count;
}

// The character at `text` < `end`.
inline Decoded decode_checked(const uint8_t* text, const uint8_t* end) {
  bool is_whole;
  const uint32_t bytes = sound_bytes(text, end, &is_whole);
  if (!is_whole) return {replacement_character, 0};
  switch (bytes) {
    case 1:
      return {text[0], 1};
    case 2:
      return {(text[0] & 0x1fu) << 6 | (text[1] & 0x3fu), 2};
    case 3:
      return {(text[0] & 0x0fu) << 12 | (text[1] & 0x3fu) << 6 | (text[2] & 0x3fu), 3};
    default:
      return {(text[0] & 0x07u) << 18 | (text[1] & 0x3fu) << 12 | (text[2] & 0x3fu) << 6 | (text[3] & 0x3fu), 4};
  }
}

inline bool is_utf8(const uint8_t* text, const uint8_t* end) {
  while (text < end) {
    const Decoded one = decode_checked(text, end);
    if (one.bytes == 0) return false;
    text += one.bytes;
  }
  return true;
}

// The character at `text` < `end`; a byte that begins none is taken as U+FFFD.
inline Decoded decode(const uint8_t* text, const uint8_t* end) {
  if (text[0] < 0x80) return {text[0], 1};
  const Decoded one = decode_checked(text, end);
  return {one.code, one.bytes == 0 ? 1 : one.bytes};
}

// Writes a scalar value, at most four bytes; returns how many.
inline uint32_t encode(uint32_t code, uint8_t* to) {
  if (code < 0x80) {
    to[0] = static_cast<uint8_t>(code);
    return 1;
  }
  const uint32_t bytes = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (uint32_t i = bytes - 1; i > 0; i--, code >>= 6) to[i] = static_cast<uint8_t>(0x80 | (code & 0x3f));
  to[0] = static_cast<uint8_t>(code | (0xf0u << (4 - bytes) & 0xff));
  return bytes;
}

// `code` is below 0x110000, as `decode` gives it.
inline uint8_t mapped(Span<uint16_t> index, Span<uint8_t> blocks, uint32_t code) {
  return blocks.data[index.data[code / block] * block + code % block];
}

}  // namespace tokens
}  // namespace heddle

#endif
