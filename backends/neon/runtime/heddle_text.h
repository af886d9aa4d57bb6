// Writes sentences into a buffer of fixed size without the C library; what does not fit is cut. Knows nothing else.
#ifndef HEDDLE_TEXT_H
#define HEDDLE_TEXT_H

#include <stdint.h>

namespace heddle {

class Text {
 public:
  Text(char* buffer, int32_t bytes) : buffer_(buffer), left_(buffer == nullptr ? 0 : bytes - 1) {
    if (left_ > 0) *buffer_ = 0;
  }

  Text& operator<<(const char* text) {
    while (*text != 0) put(*text++);
    return *this;
  }

  Text& operator<<(int64_t number) {
    char digits[24];
    int32_t count = 0;
    uint64_t rest = number < 0 ? 0 - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
    do {
      digits[count++] = static_cast<char>('0' + rest % 10);
      rest /= 10;
    } while (rest != 0);
    if (number < 0) put('-');
    while (count > 0) put(digits[--count]);
    return *this;
  }

 private:
  void put(char character) {
    if (left_ <= 0) return;
    *buffer_++ = character;
    *buffer_ = 0;
    left_--;
  }

  char* buffer_;
  int32_t left_;
};

}  // namespace heddle

#endif
