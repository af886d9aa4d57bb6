// Byte-pair encoding of one word (Sennrich et al. 2016): of all neighbours the pair of the lowest rank is merged, the
// leftmost first, until no pair is in the table. Short words by looking through them, long ones with a tournament of pairs,
// n log n whatever the text. Knows neither text nor how words are found.
#ifndef HEDDLE_TOKENIZER_MERGE_H
#define HEDDLE_TOKENIZER_MERGE_H

#include "heddle_tokenizer_table.h"

namespace heddle {
namespace tokens {

// What two neighbours merge to; rank `none`: they do not.
struct Joined {
  uint32_t rank, made;
};

inline Joined joined(const Table& table, uint32_t left, uint32_t right) {
  const uint32_t slots = table.merges.count;
  if (slots == 0) return {none, none};
  const Merge* merge = table.merges.data + home_slot(mixed(left, right), slots, table.merge_probes);
  for (uint32_t probe = 0; probe < table.merge_probes; probe++, merge++) {
    if (merge->left == left && merge->right == right) return {merge->rank, merge->made};
    if (merge->left == none) break;
  }
  return {none, none};
}

// Up to here looking through all pairs is as fast.
constexpr int64_t short_word = 48;

// Merges in place; returns how many ids are left. `count` is 1 to `short_word`.
inline int64_t merge_short(const Table& table, uint32_t* ids, int64_t count) {
  Joined pairs[short_word];
  for (int64_t i = 0; i + 1 < count; i++) pairs[i] = joined(table, ids[i], ids[i + 1]);
  while (count > 1) {
    int64_t best = 0;
    for (int64_t i = 1; i + 1 < count; i++) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].rank == none) break;
    ids[best] = pairs[best].made;
    count--;
    for (int64_t i = best + 1; i < count; i++) {
      ids[i] = ids[i + 1];
      pairs[i - 1] = pairs[i];
    }
    if (best + 1 < count) pairs[best] = joined(table, ids[best], ids[best + 1]);
    if (best > 0) pairs[best - 1] = joined(table, ids[best - 1], ids[best]);
  }
  return count;
}

// Words of the memory that a symbol of a long word takes.
constexpr int64_t words_per_symbol = 6;

// The ids of a long word lie in the first `count` words of `memory`, which has words_per_symbol × count.
class LongWord {
 public:
  LongWord(const Table& table, uint32_t* memory, int64_t count)
      : table_(table),
        count_(static_cast<uint32_t>(count)),
        ids_(memory),
        rank_(memory + count),
        made_(memory + 2 * count),
        next_(memory + 3 * count),
        previous_(memory + 4 * count),
        winner_(memory + 5 * count) {}

  // Returns how many ids are left; they lie at the start again.
  int64_t merge() {
    for (uint32_t i = 0; i < count_; i++) {
      next_[i] = i + 1;
      previous_[i] = i - 1;
      set(i);
    }
    for (uint32_t i = count_ - 1; i > 0; i--) winner_[i] = better(2 * i, 2 * i + 1);
    for (uint32_t best = winner_[1]; rank_[best] != none; best = winner_[1]) {
      const uint32_t gone = next_[best];
      ids_[best] = made_[best];
      rank_[gone] = none;
      next_[best] = next_[gone];
      if (next_[gone] < count_) previous_[next_[gone]] = best;
      set(best);
      update(gone);
      update(best);
      if (best > 0) {
        set(previous_[best]);
        update(previous_[best]);
      }
    }
    int64_t left = 0;
    for (uint32_t i = 0; i < count_; i = next_[i]) ids_[left++] = ids_[i];
    return left;
  }

 private:
  // Looks up the pair that begins at a symbol.
  void set(uint32_t i) {
    const Joined pair = next_[i] < count_ ? joined(table_, ids_[i], ids_[next_[i]]) : Joined{none, none};
    rank_[i] = pair.rank;
    made_[i] = pair.made;
  }

  // The symbol that wins at a place of the tournament: inner places are 1 … count − 1, symbols stand behind them.
  uint32_t at(uint32_t place) const { return place < count_ ? winner_[place] : place - count_; }

  uint32_t better(uint32_t a, uint32_t b) const {
    const uint32_t left = at(a);
    const uint32_t right = at(b);
    if (rank_[left] != rank_[right]) return rank_[left] < rank_[right] ? left : right;
    return left < right ? left : right;
  }

  void update(uint32_t i) {
    for (uint32_t place = (i + count_) / 2; place > 0; place /= 2) winner_[place] = better(2 * place, 2 * place + 1);
  }

  const Table& table_;
  uint32_t count_;
  uint32_t *ids_, *rank_, *made_, *next_, *previous_, *winner_;
};

}  // namespace tokens
}  // namespace heddle

#endif
