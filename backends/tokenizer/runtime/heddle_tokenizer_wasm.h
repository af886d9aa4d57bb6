// The tokenizer's ABI as wasm exports: sizes are 32-bit numbers, an open tokenizer is known by the address of its memory.
#ifndef HEDDLE_TOKENIZER_WASM_H
#define HEDDLE_TOKENIZER_WASM_H

#include "heddle_tokenizer_runtime.h"

#define HEDDLE_TOKENIZER_EXPORT(name) extern "C" __attribute__((export_name(#name), used))

// A number of bytes, or an error. A double, so that it is one number above 2 GiB as well.
HEDDLE_TOKENIZER_EXPORT(heddle_tokenizer_wasm_memory) double heddle_tokenizer_wasm_memory(const void* table, uint32_t table_bytes, uint32_t longest) {
  return static_cast<double>(heddle_tokenizer_memory(table, table_bytes, longest));
}

HEDDLE_TOKENIZER_EXPORT(heddle_tokenizer_wasm_open) int32_t heddle_tokenizer_wasm_open(const void* table, uint32_t table_bytes, void* memory, uint32_t memory_bytes) {
  heddle_tokenizer* tokenizer;
  return heddle_tokenizer_open(table, table_bytes, memory, memory_bytes, &tokenizer);
}

HEDDLE_TOKENIZER_EXPORT(heddle_tokenizer_wasm_size) int32_t heddle_tokenizer_wasm_size(const heddle_tokenizer* tokenizer) {
  return heddle_tokenizer_size(tokenizer);
}

HEDDLE_TOKENIZER_EXPORT(heddle_tokenizer_wasm_id) int32_t heddle_tokenizer_wasm_id(const heddle_tokenizer* tokenizer, const char* name, uint32_t bytes) {
  return heddle_token_id(tokenizer, name, bytes);
}

HEDDLE_TOKENIZER_EXPORT(heddle_tokenizer_wasm_encode) int32_t heddle_tokenizer_wasm_encode(heddle_tokenizer* tokenizer, const char* text, uint32_t bytes, int32_t flags, int32_t* ids, uint32_t capacity) {
  return static_cast<int32_t>(heddle_encode(tokenizer, text, bytes, flags, ids, capacity));
}

HEDDLE_TOKENIZER_EXPORT(heddle_tokenizer_wasm_decode) int32_t heddle_tokenizer_wasm_decode(const heddle_tokenizer* tokenizer, const int32_t* ids, uint32_t count, int32_t flags, char* text, uint32_t capacity) {
  return static_cast<int32_t>(heddle_decode(tokenizer, ids, count, flags, text, capacity));
}

HEDDLE_TOKENIZER_EXPORT(heddle_tokenizer_wasm_sentence) const char* heddle_tokenizer_wasm_sentence(int32_t result) {
  return heddle_tokenizer_sentence(result);
}

#endif
