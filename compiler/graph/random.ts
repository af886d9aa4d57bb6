// Counter-based random numbers in the scalar language, so that the interpreter and every kernel draw the same ones and
// recomputing draws them again. Must not know what they are for.

import type { Scalars } from './scalars.ts'

/** Found by search: the smallest avalanche bias of 400 pairs of odd constants (see the test for what it must reach). */
const mixer = { first: 0xa83c136f | 0, second: 0x606d2ea7 | 0 } as const
/** 2³² divided by the golden ratio, made odd: neighbouring streams start far apart. */
const streamStep = 0x9e3779b9 | 0

/** A bijection of 32 bits in which every bit of `x` flips every bit of the result about half of the time. */
function mix<V>(s: Scalars<V>, x: V): V {
  const a = s.intMul(s.intXor(x, s.intShiftRight(x, 16)), s.int(mixer.first))
  const b = s.intMul(s.intXor(a, s.intShiftRight(a, 15)), s.int(mixer.second))
  return s.intXor(b, s.intShiftRight(b, 16))
}

/**
 * 32 random bits for the place `index` of `stream` under `seed` (i32 words, all bits used; `stream` is a constant).
 * The two keys, which depend only on seed and stream, enter before each of two rounds: with one, two streams would be
 * the same sequence shifted.
 */
export function randomBits<V>(s: Scalars<V>, seed: V, stream: number, index: V): V {
  const first = mix(s, s.intAdd(seed, s.int(Math.imul(stream + 1, streamStep))))
  const second = mix(s, s.intAdd(first, s.int(streamStep)))
  return mix(s, s.intXor(mix(s, s.intAdd(index, first)), second))
}

/** Uniform in [0, 1) as one of 2²⁴ multiples of 2⁻²⁴, exact in float32. */
export function randomUniform<V>(s: Scalars<V>, seed: V, stream: number, index: V): V {
  return s.mul(s.toFloat(s.intShiftRight(randomBits(s, seed, stream, index), 8)), s.float(2 ** -24))
}
