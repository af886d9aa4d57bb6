// The table as it lies in memory, and the check that makes every later look-up safe: whatever bytes it holds, offsets,
// ids, states and lengths are within bounds once `read_table` returns true. backends/tokenizer/table.ts writes it.
#ifndef HEDDLE_TOKENIZER_TABLE_H
#define HEDDLE_TOKENIZER_TABLE_H

#include <stddef.h>
#include <stdint.h>

namespace heddle {
namespace tokens {

constexpr uint32_t magic = 0x4b544448;  // "HDTK", read little-endian
constexpr uint32_t version = 1;
constexpr uint32_t none = 0xffffffff;
constexpr uint32_t code_points = 0x110000;
constexpr uint32_t block = 256;

enum Trait : uint32_t { characters_trait = 1, whole_words_trait = 2 };
enum Normalizer : uint32_t { no_normalizer = 0, compose_normalizer = 1, replace_normalizer = 2 };
enum Matches : uint32_t { isolated = 0, with_previous = 1 };
enum Flag : uint8_t { exists_flag = 1, special_flag = 2, byte_flag = 4 };

constexpr uint16_t matched_bit = 0x8000;
constexpr uint32_t most_stages = 8;
constexpr uint32_t most_replacement = 256;
constexpr uint32_t longest_decomposition = 8;

template <typename T>
struct Span {
  const T* data;
  uint32_t count;
};

struct Merge {
  uint32_t left, right, made, rank;
};
struct Character {
  uint32_t code, id;
};
// A pre-tokenizer's step: its automaton's transitions, [state, class], the class behind the last being the text's end.
struct Stage {
  uint32_t first, states, matches;
};
struct Node {
  uint32_t first_edge, id;
};
struct Name {
  uint32_t id, first, bytes;
};
struct Decomposition {
  uint32_t code, first, count;
};
struct Pair {
  uint32_t first, second, composed;
};

struct Table {
  uint32_t size;
  uint32_t traits;
  uint32_t normalizer;
  uint32_t classes;
  // Slots that a look-up has to see.
  uint32_t merge_probes, character_probes, word_probes;
  uint32_t written_root, normalized_root;

  Span<uint32_t> token_offsets;  // size + 1
  Span<uint8_t> token_bytes;
  Span<uint8_t> token_flags;
  Span<uint32_t> byte_ids;
  Span<Merge> merges;
  Span<Character> characters;
  Span<uint32_t> words;
  Span<Stage> stages;
  Span<uint16_t> transitions;
  Span<uint16_t> class_index;
  Span<uint8_t> class_blocks;
  Span<Node> nodes;
  Span<uint32_t> edges;  // byte in the lowest eight bits, goal above
  Span<Name> names;
  Span<uint8_t> name_text;
  Span<uint32_t> before, after;
  Span<uint8_t> replace_from, replace_to;
  Span<uint16_t> compose_index;
  Span<uint8_t> compose_blocks;
  Span<Decomposition> decompositions;
  Span<uint32_t> parts;
  Span<Pair> pairs;
};

constexpr uint32_t scalar_count = 9;
constexpr uint32_t section_count = 24;
constexpr uint32_t head_words = 4 + scalar_count + 2 * section_count;

// CRC-32 of ISO 3309, the polynomial's bits reversed; eight bytes a step ("slicing by 8").
inline uint32_t checksum(const uint8_t* data, int64_t bytes) {
  uint32_t tables[8][256];
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; bit++) value = (value >> 1) ^ (0xedb88320u & (0u - (value & 1)));
    tables[0][byte] = value;
  }
  for (uint32_t byte = 0; byte < 256; byte++) {
    for (int step = 1; step < 8; step++) {
      const uint32_t before = tables[step - 1][byte];
      tables[step][byte] = (before >> 8) ^ tables[0][before & 255];
    }
  }
  uint32_t crc = none;
  for (; bytes >= 8; data += 8, bytes -= 8) {
    crc ^= data[0] | static_cast<uint32_t>(data[1]) << 8 | static_cast<uint32_t>(data[2]) << 16 | static_cast<uint32_t>(data[3]) << 24;
    crc = tables[7][crc & 255] ^ tables[6][crc >> 8 & 255] ^ tables[5][crc >> 16 & 255] ^ tables[4][crc >> 24] ^
          tables[3][data[4]] ^ tables[2][data[5]] ^ tables[1][data[6]] ^ tables[0][data[7]];
  }
  for (; bytes > 0; data++, bytes--) crc = (crc >> 8) ^ tables[0][(crc ^ *data) & 255];
  return ~crc;
}

// As `mixed` and `hashedBytes` in hashing.ts.
inline uint32_t mixed(uint32_t a, uint32_t b) {
  uint32_t hash = (a * 0x9e3779b1u) ^ (b * 0x85ebca77u);
  hash = (hash ^ (hash >> 15)) * 0xc2b2ae3du;
  return hash ^ (hash >> 13);
}

inline uint32_t hashed_bytes(const uint8_t* bytes, uint32_t count) {
  uint32_t hash = 0x811c9dc5u;
  for (uint32_t i = 0; i < count; i++) hash = (hash ^ bytes[i]) * 0x01000193u;
  return mixed(hash, count);
}

// The first slot of a look-up in a table with so many slots beyond its home slots.
inline uint32_t home_slot(uint32_t hash, uint32_t slots, uint32_t probes) {
  return static_cast<uint32_t>((static_cast<uint64_t>(hash) * (slots - probes)) >> 32);
}

// Walks through the sections of a header that has been found to lie inside of the table.
class Sections {
 public:
  Sections(const uint8_t* base, uint32_t bytes, const uint32_t* places) : base_(base), bytes_(bytes), next_(places) {}

  template <typename T>
  bool read(Span<T>& span) {
    const uint32_t offset = *next_++;
    const uint32_t size = *next_++;
    if (offset % 8 != 0 || offset > bytes_ || size > bytes_ - offset || size % sizeof(T) != 0) return false;
    span.data = reinterpret_cast<const T*>(base_ + offset);
    span.count = size / static_cast<uint32_t>(sizeof(T));
    return true;
  }

 private:
  const uint8_t* base_;
  uint32_t bytes_;
  const uint32_t* next_;
};

// Whether a look-up may start at any home slot and see `probes` slots.
inline bool is_hash(uint32_t slots, uint32_t probes) { return slots == 0 ? probes == 0 : probes >= 1 && probes < slots; }

// A map from code points to bytes: a block for each 256.
inline bool is_map(Span<uint16_t> index, Span<uint8_t> blocks) {
  if (index.count != code_points / block) return false;
  for (uint32_t i = 0; i < index.count; i++) {
    if ((static_cast<uint32_t>(index.data[i]) + 1) * block > blocks.count) return false;
  }
  return true;
}

inline bool is_scalar_value(uint32_t code) { return code < 0xd800 || (code > 0xdfff && code < code_points); }

inline bool ids_are_known(Span<uint32_t> ids, uint32_t size, bool may_be_none) {
  for (uint32_t i = 0; i < ids.count; i++) {
    if (ids.data[i] >= size && !(may_be_none && ids.data[i] == none)) return false;
  }
  return true;
}

inline bool check_vocabulary(const Table& table) {
  if (table.size == 0 || table.size > 0x7fffffff || table.token_flags.count != table.size) return false;
  const Span<uint32_t>& offsets = table.token_offsets;
  if (offsets.count != table.size + 1 || offsets.data[0] != 0) return false;
  for (uint32_t id = 0; id < table.size; id++) {
    if (offsets.data[id] > offsets.data[id + 1]) return false;
    // A token that stands for a byte is that byte.
    const bool is_byte = (table.token_flags.data[id] & byte_flag) != 0;
    if (is_byte && offsets.data[id + 1] - offsets.data[id] != 1) return false;
  }
  if (offsets.data[table.size] != table.token_bytes.count) return false;
  if (table.byte_ids.count != 256 || !ids_are_known(table.byte_ids, table.size, true)) return false;
  if (!is_hash(table.merges.count, table.merge_probes)) return false;
  for (uint32_t i = 0; i < table.merges.count; i++) {
    const Merge& merge = table.merges.data[i];
    if (merge.left != none && merge.made >= table.size) return false;
  }
  if (!is_hash(table.characters.count, table.character_probes)) return false;
  for (uint32_t i = 0; i < table.characters.count; i++) {
    const Character& character = table.characters.data[i];
    if (character.code != none && character.id >= table.size) return false;
  }
  return is_hash(table.words.count, table.word_probes) && ids_are_known(table.words, table.size, true) &&
         ids_are_known(table.before, table.size, false) && ids_are_known(table.after, table.size, false);
}

inline bool check_splits(const Table& table) {
  if (table.stages.count > most_stages || table.classes == 0 || table.classes > 255) return false;
  if (!is_map(table.class_index, table.class_blocks)) return false;
  for (uint32_t i = 0; i < table.class_blocks.count; i++) {
    if (table.class_blocks.data[i] >= table.classes) return false;
  }
  for (uint32_t i = 0; i < table.stages.count; i++) {
    const Stage& stage = table.stages.data[i];
    if (stage.states < 2 || stage.states >= matched_bit || stage.matches > with_previous) return false;
    const uint32_t transitions = stage.states * (table.classes + 1);
    if (stage.first > table.transitions.count || transitions > table.transitions.count - stage.first) return false;
    for (uint32_t j = 0; j < transitions; j++) {
      const uint32_t state = table.transitions.data[stage.first + j] & ~static_cast<uint32_t>(matched_bit);
      if (state >= stage.states) return false;
    }
  }
  return true;
}

inline bool check_added(const Table& table) {
  if (table.nodes.count < 2) return false;
  const uint32_t nodes = table.nodes.count - 1;
  if (table.written_root >= nodes || table.normalized_root >= nodes) return false;
  for (uint32_t i = 0; i < nodes; i++) {
    const Node& node = table.nodes.data[i];
    if (node.first_edge > table.nodes.data[i + 1].first_edge || (node.id != none && node.id >= table.size)) return false;
  }
  if (table.nodes.data[nodes].first_edge != table.edges.count) return false;
  for (uint32_t i = 0; i < table.edges.count; i++) {
    if (table.edges.data[i] >> 8 >= nodes) return false;
  }
  for (uint32_t i = 0; i < table.names.count; i++) {
    const Name& name = table.names.data[i];
    if (name.id >= table.size || name.first > table.name_text.count) return false;
    if (name.bytes > table.name_text.count - name.first) return false;
  }
  return true;
}

inline bool check_normalizer(const Table& table) {
  if (table.replace_from.count > most_replacement || table.replace_to.count > most_replacement) return false;
  if (table.normalizer == replace_normalizer) return table.replace_from.count > 0;
  if (table.normalizer != compose_normalizer) return table.normalizer == no_normalizer;
  if (!is_map(table.compose_index, table.compose_blocks)) return false;
  for (uint32_t i = 0; i < table.decompositions.count; i++) {
    const Decomposition& row = table.decompositions.data[i];
    if (row.count == 0 || row.count > longest_decomposition || row.first > table.parts.count) return false;
    if (row.count > table.parts.count - row.first) return false;
  }
  for (uint32_t i = 0; i < table.parts.count; i++) {
    if (!is_scalar_value(table.parts.data[i])) return false;
  }
  for (uint32_t i = 0; i < table.pairs.count; i++) {
    if (!is_scalar_value(table.pairs.data[i].composed)) return false;
  }
  return true;
}

inline bool read_sections(Sections sections, Table& table) {
  return sections.read(table.token_offsets) && sections.read(table.token_bytes) && sections.read(table.token_flags) &&
         sections.read(table.byte_ids) && sections.read(table.merges) && sections.read(table.characters) &&
         sections.read(table.words) && sections.read(table.stages) && sections.read(table.transitions) &&
         sections.read(table.class_index) && sections.read(table.class_blocks) && sections.read(table.nodes) &&
         sections.read(table.edges) && sections.read(table.names) && sections.read(table.name_text) &&
         sections.read(table.before) && sections.read(table.after) && sections.read(table.replace_from) &&
         sections.read(table.replace_to) && sections.read(table.compose_index) && sections.read(table.compose_blocks) &&
         sections.read(table.decompositions) && sections.read(table.parts) && sections.read(table.pairs);
}

// Whether the header is one, of so many bytes.
inline bool has_head(const void* data, int64_t bytes) {
  if (data == nullptr || reinterpret_cast<uintptr_t>(data) % 8 != 0) return false;
  if (bytes < static_cast<int64_t>(head_words * 4) || bytes > 0x7fffffff) return false;
  const uint32_t* words = static_cast<const uint32_t*>(data);
  return words[0] == magic && words[1] == version && words[2] == static_cast<uint64_t>(bytes);
}

// Reads and checks everything: linear in the table's size, some milliseconds for the largest.
inline bool read_table(const void* data, int64_t bytes, Table& table) {
  if (!has_head(data, bytes)) return false;
  const uint8_t* base = static_cast<const uint8_t*>(data);
  const uint32_t* words = static_cast<const uint32_t*>(data);
  if (checksum(base + 16, bytes - 16) != words[3]) return false;
  uint32_t* const scalars[scalar_count] = {&table.size,
                                           &table.traits,
                                           &table.normalizer,
                                           &table.classes,
                                           &table.merge_probes,
                                           &table.character_probes,
                                           &table.word_probes,
                                           &table.written_root,
                                           &table.normalized_root};
  for (uint32_t i = 0; i < scalar_count; i++) *scalars[i] = words[4 + i];
  const Sections sections(base, static_cast<uint32_t>(bytes), words + 4 + scalar_count);
  return read_sections(sections, table) && check_vocabulary(table) && check_splits(table) && check_added(table) &&
         check_normalizer(table);
}

}  // namespace tokens
}  // namespace heddle

#endif
