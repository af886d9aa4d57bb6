// The C ABI of the tokenizer: text to token ids and back, from the table that `heddle build` makes of a tokenizer.json.
// Nothing allocates, throws, exits or keeps global state; a table is checked whole before it is used. It must not know
// JSON, nor where the table's bytes came from.
#ifndef HEDDLE_TOKENIZER_H
#define HEDDLE_TOKENIZER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Results below 0; heddle_tokenizer_sentence says them in words.
#define HEDDLE_TOKENIZER_DAMAGED (-1)       // the table is not one, or was changed
#define HEDDLE_TOKENIZER_MEMORY (-2)        // less memory than this text needs
#define HEDDLE_TOKENIZER_NOT_UTF8 (-3)      // the text is not UTF-8
#define HEDDLE_TOKENIZER_INEXPRESSIBLE (-4) // the vocabulary has no token for a byte of the text
#define HEDDLE_TOKENIZER_NO_TOKEN (-5)      // an id, or a name, that no token has

// heddle_encode: also what the tokenizer puts around a text (a token that begins it, say).
#define HEDDLE_ENCODE_FRAME 1
// heddle_decode: leaves special tokens out.
#define HEDDLE_DECODE_PLAIN 1

// Lies in the caller's memory. One call at a time; any number of tokenizers may share a table.
typedef struct heddle_tokenizer heddle_tokenizer;

// Bytes of memory to open with, for texts of up to so many bytes: about 25 for each, 75 where a normalizer may lengthen
// the text. A text beyond it may still fit. HEDDLE_TOKENIZER_DAMAGED.
int64_t heddle_tokenizer_memory(const void* table, int64_t table_bytes, int64_t longest_text);

// Checks the table (aligned to 8 bytes, unchanged and in use as long as the tokenizer) and lays the tokenizer out in
// `memory` (aligned to 8 bytes). 0, HEDDLE_TOKENIZER_DAMAGED or HEDDLE_TOKENIZER_MEMORY.
int32_t heddle_tokenizer_open(const void* table, int64_t table_bytes, void* memory, int64_t memory_bytes,
                              heddle_tokenizer** tokenizer);

// One more than the largest token id.
int32_t heddle_tokenizer_size(const heddle_tokenizer* tokenizer);

// The id of an added token, special ones among them, by its exact spelling; or HEDDLE_TOKENIZER_NO_TOKEN.
int32_t heddle_token_id(const heddle_tokenizer* tokenizer, const char* name, int64_t name_bytes);

// Token ids of a text; added tokens that are written in it become their ids. Returns how many ids the text has, of which
// the first `capacity` are written; or an error. `text` may hold zero bytes.
int64_t heddle_encode(heddle_tokenizer* tokenizer, const char* text, int64_t text_bytes, int32_t flags, int32_t* ids,
                      int64_t capacity);

// The text of token ids as UTF-8, U+FFFD where their bytes are none. Returns how many bytes it has, of which the first
// `capacity` are written, without a zero at the end; or HEDDLE_TOKENIZER_NO_TOKEN.
int64_t heddle_decode(const heddle_tokenizer* tokenizer, const int32_t* ids, int64_t id_count, int32_t flags, char* text,
                      int64_t capacity);

// What a result below 0 means, in a sentence that ends with a zero byte.
const char* heddle_tokenizer_sentence(int64_t result);

#ifdef __cplusplus
}
#endif

#endif
