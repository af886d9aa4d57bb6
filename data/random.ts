// The project's one source of chance: a small generator in 32-bit integer arithmetic, so that a seed means the same
// order of records and the same generated text on every machine. Knows nothing of what is drawn with it.

/** The four 32-bit words of a generator; plain numbers, so that it can be written as JSON and read back. */
export type RandomState = readonly [number, number, number, number]

/**
 * xoshiro128** 1.1 (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018), seeded through
 * the 32-bit finaliser of MurmurHash3 over a Weyl sequence so that neighbouring seeds share nothing.
 */
export class Random {
  private words: [number, number, number, number]

  /** Every argument changes the sequence: `new Random(seed, epoch)` gives each epoch its own order. */
  constructor(...seeds: readonly number[]) {
    let weyl = 0x2545f491
    const next = (): number => {
      weyl = (weyl + 0x9e3779b9) | 0
      return finalise(weyl)
    }
    for (const seed of seeds) {
      // High and low halves both count: seeds are safe integers, not only 32-bit ones.
      weyl = finalise((weyl ^ (seed | 0)) | 0)
      weyl = finalise((weyl ^ Math.floor(seed / 4294967296)) | 0)
    }
    this.words = [next(), next(), next(), next()]
    // The all-zero state is the generator's only fixed point.
    if ((this.words[0] | this.words[1] | this.words[2] | this.words[3]) === 0) this.words[0] = 1
  }

  /** A generator that goes on where `state` was taken. */
  static restore(state: RandomState): Random {
    const random = new Random(0)
    random.words = [state[0] | 0, state[1] | 0, state[2] | 0, state[3] | 0]
    if ((random.words[0] | random.words[1] | random.words[2] | random.words[3]) === 0) random.words[0] = 1
    return random
  }

  get state(): RandomState {
    return [this.words[0] >>> 0, this.words[1] >>> 0, this.words[2] >>> 0, this.words[3] >>> 0]
  }

  /** The next 32 bits, as an integer in [0, 2^32). */
  bits(): number {
    const words = this.words
    const result = Math.imul(rotate(Math.imul(words[1], 5), 7), 9) >>> 0
    const shifted = words[1] << 9
    words[2] ^= words[0]
    words[3] ^= words[1]
    words[1] ^= words[2]
    words[0] ^= words[3]
    words[2] ^= shifted
    words[3] = rotate(words[3], 11)
    return result
  }

  /** A uniform integer in [0, bound), 1 <= bound <= 2^32, without modulo bias. */
  below(bound: number): number {
    const limit = 4294967296 - (4294967296 % bound)
    let drawn = this.bits()
    while (drawn >= limit) drawn = this.bits()
    return drawn % bound
  }

  /** A uniform integer in [low, high], both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  /** One element, each equally likely; `items` must not be empty. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }

  /** Puts `items` into a uniformly random order, in place (Fisher and Yates). */
  shuffle<T>(items: T[]): T[] {
    for (let last = items.length - 1; last > 0; last--) {
      const other = this.below(last + 1)
      const kept = items[last] as T
      items[last] = items[other] as T
      items[other] = kept
    }
    return items
  }
}

function rotate(word: number, by: number): number {
  return (word << by) | (word >>> (32 - by))
}

function finalise(word: number): number {
  let mixed = Math.imul(word ^ (word >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}
