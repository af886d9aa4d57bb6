// The tokenizer's ABI, implemented: one pass from text over added tokens, normalizer and pre-tokenizer to merged ids.
// Include it in one translation unit. Knows no platform.
#ifndef HEDDLE_TOKENIZER_RUNTIME_H
#define HEDDLE_TOKENIZER_RUNTIME_H

#include "heddle_tokenizer.h"
#include "heddle_tokenizer_compose.h"
#include "heddle_tokenizer_decode.h"
#include "heddle_tokenizer_merge.h"
#include "heddle_tokenizer_split.h"

struct heddle_tokenizer {
  heddle::tokens::Table table;
  heddle::tokens::FirstBytes written, normalized;
  // A word's symbols while they are merged; code points while a normalizer composes.
  uint32_t* symbols;
  int64_t most_symbols;
  // Where a normalizer writes; as many bytes as there are symbols.
  uint8_t* text;
};

namespace heddle {
namespace tokens {

class Encoder {
 public:
  Encoder(heddle_tokenizer& tokenizer, int32_t* ids, int64_t capacity)
      : tokenizer_(tokenizer), table_(tokenizer.table), ids_(ids), capacity_(capacity) {}

  int64_t result() const { return error_ < 0 ? error_ : count_; }

  void write_all(Span<uint32_t> ids) {
    for (uint32_t i = 0; i < ids.count; i++) write(ids.data[i]);
  }

  void encode_written(const uint8_t* text, const uint8_t* end) {
    each_gap(table_.written_root, tokenizer_.written, text, end,
             [this](const uint8_t* from, const uint8_t* to) { normalize(from, to); });
  }

  // A word, as `split` finds it.
  void operator()(const uint8_t* word, const uint8_t* end) {
    if (error_ < 0) return;
    const bool has_characters = (table_.traits & characters_trait) != 0;
    if ((table_.traits & whole_words_trait) != 0 && write_whole(word, end)) return;
    uint32_t few[short_word];
    symbol_count_ = 0;
    symbols_ = few;
    most_symbols_ = short_word;
    if (has_characters) {
      read_characters(word, end);
    } else {
      read_bytes(word, end);
    }
    if (error_ < 0) return;
    const int64_t left = symbol_count_ <= short_word ? merge_short(table_, symbols_, symbol_count_)
                                                     : LongWord(table_, symbols_, symbol_count_).merge();
    for (int64_t i = 0; i < left; i++) write(symbols_[i]);
  }

 private:
  void write(uint32_t id) {
    if (count_ < capacity_) ids_[count_] = static_cast<int32_t>(id);
    count_++;
  }

  // Writes the added tokens of a text and hands what is between them to `take`.
  template <typename Take>
  void each_gap(uint32_t root, const FirstBytes& firsts, const uint8_t* text, const uint8_t* end, Take take) {
    const uint8_t* rest = text;
    while (text < end && error_ >= 0) {
      const Found found = firsts.has(*text) ? added_at(table_, root, text, end) : Found{nullptr, none};
      if (found.end == nullptr) {
        text++;
        continue;
      }
      if (rest < text) take(rest, text);
      write(found.id);
      rest = text = found.end;
    }
    if (rest < end && error_ >= 0) take(rest, end);
  }

  void normalize(const uint8_t* text, const uint8_t* end) {
    if (table_.normalizer != no_normalizer) {
      Output output = {tokenizer_.text, tokenizer_.most_symbols, 0, true};
      if (table_.normalizer == replace_normalizer) {
        replace_all(table_, text, end, output);
      } else {
        Composer(table_, tokenizer_.symbols, tokenizer_.most_symbols * words_per_symbol).compose(text, end, output);
      }
      if (!output.fits) error_ = HEDDLE_TOKENIZER_MEMORY;
      text = tokenizer_.text;
      end = text + output.count;
    }
    each_gap(table_.normalized_root, tokenizer_.normalized, text, end,
             [this](const uint8_t* from, const uint8_t* to) { split(table_, 0, from, to, *this); });
  }

  bool write_whole(const uint8_t* word, const uint8_t* end) {
    if (table_.words.count == 0) return false;
    const uint32_t bytes = static_cast<uint32_t>(end - word);
    uint32_t slot = home_slot(hashed_bytes(word, bytes), table_.words.count, table_.word_probes);
    for (uint32_t probe = 0; probe < table_.word_probes; probe++, slot++) {
      const uint32_t id = table_.words.data[slot];
      if (id == none) return false;
      const uint32_t first = table_.token_offsets.data[id];
      if (table_.token_offsets.data[id + 1] - first != bytes) continue;
      if (!same_bytes(table_.token_bytes.data + first, word, bytes)) continue;
      write(id);
      return true;
    }
    return false;
  }

  void push(uint32_t id) {
    if (id == none) {
      error_ = HEDDLE_TOKENIZER_INEXPRESSIBLE;
      return;
    }
    if (symbol_count_ == most_symbols_) {
      if (symbols_ == tokenizer_.symbols || symbol_count_ >= tokenizer_.most_symbols) {
        error_ = HEDDLE_TOKENIZER_MEMORY;
        return;
      }
      for (int64_t i = 0; i < symbol_count_; i++) tokenizer_.symbols[i] = symbols_[i];
      symbols_ = tokenizer_.symbols;
      most_symbols_ = tokenizer_.most_symbols;
    }
    symbols_[symbol_count_++] = id;
  }

  void read_bytes(const uint8_t* word, const uint8_t* end) {
    for (; word < end && error_ >= 0; word++) push(table_.byte_ids.data[*word]);
  }

  void read_characters(const uint8_t* word, const uint8_t* end) {
    while (word < end && error_ >= 0) {
      const Decoded one = decode(word, end);
      const uint32_t id = character_id(one.code);
      if (id == none) {
        read_bytes(word, word + one.bytes);
      } else {
        push(id);
      }
      word += one.bytes;
    }
  }

  uint32_t character_id(uint32_t code) const {
    const uint32_t slots = table_.characters.count;
    if (slots == 0) return none;
    uint32_t slot = home_slot(mixed(code, 0), slots, table_.character_probes);
    for (uint32_t probe = 0; probe < table_.character_probes; probe++, slot++) {
      const Character& character = table_.characters.data[slot];
      if (character.code == code) return character.id;
      if (character.code == none) break;
    }
    return none;
  }

  heddle_tokenizer& tokenizer_;
  const Table& table_;
  int32_t* ids_;
  int64_t capacity_;
  int64_t count_ = 0;
  int64_t error_ = 0;
  uint32_t* symbols_ = nullptr;
  int64_t symbol_count_ = 0;
  int64_t most_symbols_ = 0;
};

constexpr int64_t head_bytes = (static_cast<int64_t>(sizeof(heddle_tokenizer)) + 7) / 8 * 8;
constexpr int64_t symbol_bytes = words_per_symbol * 4;

// How many times longer the normalizer can make a text, in bytes.
inline int64_t growth(const Table& table) {
  // The bound for UTF-8 that the Unicode Consortium states for NFC.
  if (table.normalizer == compose_normalizer) return 3;
  if (table.normalizer == no_normalizer) return 1;
  const int64_t times = (table.replace_to.count + table.replace_from.count - 1) / table.replace_from.count;
  return times < 1 ? 1 : times;
}

}  // namespace tokens
}  // namespace heddle

extern "C" {

int64_t heddle_tokenizer_memory(const void* table, int64_t table_bytes, int64_t longest_text) {
  heddle::tokens::Table read = {};
  if (!heddle::tokens::read_table(table, table_bytes, read)) return HEDDLE_TOKENIZER_DAMAGED;
  constexpr int64_t most = int64_t{1} << 31;
  const int64_t length = longest_text < 0 ? 0 : longest_text > most ? most : longest_text;
  const int64_t symbols = (length * heddle::tokens::growth(read) + 7) / 8 * 8;
  const bool has_text = read.normalizer != heddle::tokens::no_normalizer;
  return heddle::tokens::head_bytes + symbols * (heddle::tokens::symbol_bytes + (has_text ? 1 : 0));
}

int32_t heddle_tokenizer_open(const void* table, int64_t table_bytes, void* memory, int64_t memory_bytes,
                              heddle_tokenizer** tokenizer) {
  namespace tokens = heddle::tokens;
  tokens::Table read = {};
  if (!tokens::read_table(table, table_bytes, read)) return HEDDLE_TOKENIZER_DAMAGED;
  if (memory == nullptr || reinterpret_cast<uintptr_t>(memory) % 8 != 0) return HEDDLE_TOKENIZER_MEMORY;
  if (memory_bytes < tokens::head_bytes) return HEDDLE_TOKENIZER_MEMORY;
  heddle_tokenizer* made = static_cast<heddle_tokenizer*>(memory);
  made->table = read;
  made->written.read(read, read.written_root);
  made->normalized.read(read, read.normalized_root);
  const int64_t each = tokens::symbol_bytes + (read.normalizer != tokens::no_normalizer ? 1 : 0);
  int64_t symbols = (memory_bytes - tokens::head_bytes) / each;
  // Positions in a word are 32-bit numbers, twice as many in the tournament.
  if (symbols > 0x7fffffff) symbols = 0x7fffffff;
  made->symbols = reinterpret_cast<uint32_t*>(static_cast<uint8_t*>(memory) + tokens::head_bytes);
  made->most_symbols = symbols;
  made->text = reinterpret_cast<uint8_t*>(made->symbols) + symbols * tokens::symbol_bytes;
  *tokenizer = made;
  return 0;
}

int32_t heddle_tokenizer_size(const heddle_tokenizer* tokenizer) {
  return static_cast<int32_t>(tokenizer->table.size);
}

int32_t heddle_token_id(const heddle_tokenizer* tokenizer, const char* name, int64_t name_bytes) {
  const heddle::tokens::Table& table = tokenizer->table;
  const uint8_t* const sought = reinterpret_cast<const uint8_t*>(name);
  for (uint32_t i = 0; i < table.names.count; i++) {
    const heddle::tokens::Name& one = table.names.data[i];
    if (one.bytes != name_bytes || !heddle::tokens::same_bytes(table.name_text.data + one.first, sought, one.bytes)) continue;
    return static_cast<int32_t>(one.id);
  }
  return HEDDLE_TOKENIZER_NO_TOKEN;
}

int64_t heddle_encode(heddle_tokenizer* tokenizer, const char* text, int64_t text_bytes, int32_t flags, int32_t* ids,
                      int64_t capacity) {
  const uint8_t* const begin = reinterpret_cast<const uint8_t*>(text);
  const uint8_t* const end = begin + (text_bytes > 0 ? text_bytes : 0);
  if (text_bytes > 0x7fffffff) return HEDDLE_TOKENIZER_MEMORY;
  if (!heddle::tokens::is_utf8(begin, end)) return HEDDLE_TOKENIZER_NOT_UTF8;
  heddle::tokens::Encoder encoder(*tokenizer, ids, capacity);
  const bool has_frame = (flags & HEDDLE_ENCODE_FRAME) != 0;
  if (has_frame) encoder.write_all(tokenizer->table.before);
  encoder.encode_written(begin, end);
  if (has_frame) encoder.write_all(tokenizer->table.after);
  return encoder.result();
}

int64_t heddle_decode(const heddle_tokenizer* tokenizer, const int32_t* ids, int64_t id_count, int32_t flags, char* text,
                      int64_t capacity) {
  const heddle::tokens::Table& table = tokenizer->table;
  const heddle::tokens::Decoder decoder(table, ids, id_count, (flags & HEDDLE_DECODE_PLAIN) != 0);
  if (!decoder.ids_are_known()) return HEDDLE_TOKENIZER_NO_TOKEN;
  heddle::tokens::TextOutput output = {reinterpret_cast<uint8_t*>(text), capacity, 0};
  if ((table.traits & heddle::tokens::characters_trait) != 0) {
    decoder.write_characters(output);
  } else {
    decoder.write_bytes(output);
  }
  return output.count;
}

const char* heddle_tokenizer_sentence(int64_t result) {
  switch (result) {
    case HEDDLE_TOKENIZER_DAMAGED:
      return "the tokenizer's table is damaged or of another version";
    case HEDDLE_TOKENIZER_MEMORY:
      return "the text needs more memory than the tokenizer was opened with";
    case HEDDLE_TOKENIZER_NOT_UTF8:
      return "the text is not UTF-8";
    case HEDDLE_TOKENIZER_INEXPRESSIBLE:
      return "the vocabulary cannot express a part of the text";
    case HEDDLE_TOKENIZER_NO_TOKEN:
      return "there is no such token";
    default:
      return "nothing is wrong";
  }
}

}  // extern "C"

#endif
