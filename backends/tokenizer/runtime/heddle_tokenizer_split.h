// Finding pieces: added tokens in a text, and the matches of the pre-tokenizer's automata. Knows no merging.
#ifndef HEDDLE_TOKENIZER_SPLIT_H
#define HEDDLE_TOKENIZER_SPLIT_H

#include "heddle_tokenizer_text.h"

namespace heddle {
namespace tokens {

struct Found {
  const uint8_t* end;  // null: nothing
  uint32_t id;
};

inline uint32_t goal_of(const Table& table, uint32_t node, uint8_t byte) {
  uint32_t low = table.nodes.data[node].first_edge;
  uint32_t high = table.nodes.data[node + 1].first_edge;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    const uint32_t edge = table.edges.data[middle];
    if ((edge & 255) == byte) return edge >> 8;
    if ((edge & 255) < byte) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return none;
}

// The longest added token that begins at `text`.
inline Found added_at(const Table& table, uint32_t root, const uint8_t* text, const uint8_t* end) {
  Found found = {nullptr, none};
  for (uint32_t node = root; text < end;) {
    node = goal_of(table, node, *text++);
    if (node == none) break;
    const uint32_t id = table.nodes.data[node].id;
    if (id != none) found = {text, id};
  }
  return found;
}

// The bytes that an added token can begin with.
struct FirstBytes {
  uint32_t bits[8];

  void read(const Table& table, uint32_t root) {
    for (uint32_t i = 0; i < 8; i++) bits[i] = 0;
    for (uint32_t i = table.nodes.data[root].first_edge; i < table.nodes.data[root + 1].first_edge; i++) {
      const uint32_t byte = table.edges.data[i] & 255;
      bits[byte / 32] |= 1u << byte % 32;
    }
  }
  bool has(uint8_t byte) const { return (bits[byte / 32] >> byte % 32 & 1) != 0; }
};

// Where the match that begins at `text` < `end` ends, or `text` when there is none: one step per character.
inline const uint8_t* match_at(const Table& table, const Stage& stage, const uint8_t* text, const uint8_t* end) {
  const uint16_t* const transitions = table.transitions.data + stage.first;
  const uint32_t width = table.classes + 1;
  const uint8_t* last = text;
  uint32_t state = 1;
  while (state != 0) {
    Decoded one = {0, 0};
    uint32_t next = table.classes;
    if (text < end) {
      one = decode(text, end);
      next = mapped(table.class_index, table.class_blocks, one.code);
    }
    const uint16_t transition = transitions[state * width + next];
    if ((transition & matched_bit) != 0) last = text;
    state = transition & static_cast<uint16_t>(~matched_bit);
    if (one.bytes == 0) break;
    text += one.bytes;
  }
  return last;
}

// Cuts text by the pre-tokenizer's steps, each inside of the pieces of the one before, and hands the last pieces to
// `take(begin, end)`.
template <typename Take>
void split(const Table& table, uint32_t step, const uint8_t* text, const uint8_t* end, Take& take) {
  if (step == table.stages.count) {
    if (text < end) take(text, end);
    return;
  }
  const Stage& stage = table.stages.data[step];
  const uint8_t* rest = text;  // what is before it is handed on
  while (text < end) {
    const uint8_t* const behind = match_at(table, stage, text, end);
    if (behind == text) {
      text += decode(text, end).bytes;
      continue;
    }
    if (stage.matches == isolated && rest < text) {
      split(table, step + 1, rest, text, take);
      rest = text;
    }
    // With what was before it, unless that was handed on as a match of its own.
    split(table, step + 1, rest, behind, take);
    rest = text = behind;
  }
  if (rest < end) split(table, step + 1, rest, end, take);
}

}  // namespace tokens
}  // namespace heddle

#endif
