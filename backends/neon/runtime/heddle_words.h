// Words and numbers off a command's line. Knows no command.
#ifndef HEDDLE_WORDS_H
#define HEDDLE_WORDS_H

#include <stdint.h>

#include "heddle_table.h"

namespace heddle {

// Takes the next word off a line; null when there is none.
inline char* next_word(char** line) {
  char* word = *line;
  while (*word == ' ') word++;
  if (*word == 0) return nullptr;
  char* end = word;
  while (*end != 0 && *end != ' ') end++;
  *line = *end == 0 ? end : end + 1;
  *end = 0;
  return word;
}

// Takes a number that is not negative off a line; −1 when there is none.
inline int64_t next_number(char** line) {
  const char* word = next_word(line);
  if (word == nullptr) return -1;
  int64_t number = 0;
  for (; *word != 0; word++) {
    if (*word < '0' || *word > '9' || number > most_bytes) return -1;
    number = number * 10 + (*word - '0');
  }
  return number;
}

}  // namespace heddle

#endif
