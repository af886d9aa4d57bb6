// float32 arithmetic against exact rationals in BigInt: fused multiply-add on random and hostile operands, and the
// other words of the scalar language where JavaScript could betray them.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { InternalError } from '../../compiler/diagnostic.ts'
import { float32, float32Bits, float32FromBits, fusedMultiplyAdd } from '../../compiler/graph/float32.ts'
import { float64 } from '../../compiler/graph/float64.ts'

const TINY = 2 ** -149
const GREATEST = (2 - 2 ** -23) * 2 ** 127
/** Their product, 2²⁵ − 1, is the significand of the tie between the greatest float32 and 2¹²⁸. */
const TIE_FACTORS = [31, 1082401] as const

/** A finite float32 as significand·2^exponent, both exact. */
function decompose(value: number): { significand: bigint; exponent: number } {
  const bits = float32Bits(value)
  const field = (bits >>> 23) & 0xff
  const fraction = bits & 0x7fffff
  const magnitude = BigInt(field === 0 ? fraction : fraction | 0x800000)
  return { significand: bits < 0 ? -magnitude : magnitude, exponent: Math.max(field, 1) - 150 }
}

/** significand·2^exponent, not zero, to the nearest float32, ties to even. */
function roundExact(significand: bigint, exponent: number): number {
  const negative = significand < 0n
  let magnitude = negative ? -significand : significand
  const length = magnitude.toString(2).length
  // The weight of the result's last bit: 24 bits, or as many as lie above the least subnormal.
  const unit = Math.max(exponent + length - 24, -149)
  if (unit > exponent) {
    const drop = BigInt(unit - exponent)
    const remainder = magnitude & ((1n << drop) - 1n)
    const half = 1n << (drop - 1n)
    magnitude >>= drop
    if (remainder > half || (remainder === half && (magnitude & 1n) === 1n)) magnitude += 1n
    exponent = unit
  }
  const value = exponent > 127 ? Infinity : Number(magnitude) * 2 ** exponent
  const bounded = value > GREATEST ? Infinity : value
  return negative ? -bounded : bounded
}

/** a·b + c by exact rational arithmetic; only a zero result asks the double for its sign. */
function exactFusedMultiplyAdd(a: number, b: number, c: number): number {
  if (!Number.isFinite(a) || !Number.isFinite(b) || !Number.isFinite(c)) return a * b + c
  const [left, right, addend] = [decompose(a), decompose(b), decompose(c)]
  const product = left.significand * right.significand
  const productExponent = left.exponent + right.exponent
  const exponent = Math.min(productExponent, addend.exponent)
  const sum =
    (product << BigInt(productExponent - exponent)) + (addend.significand << BigInt(addend.exponent - exponent))
  return sum === 0n ? a * b + c : roundExact(sum, exponent)
}

/** A small generator with a seed, so that a failure repeats. */
function randomInts(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) ^ (state >>> 13)
  }
}

const next = randomInts(20240607)
const below = (count: number): number => (next() >>> 0) % count
const anyFloat = (): number => float32FromBits(next())
const significand = (bits: number): number => 2 ** (bits - 1) + below(2 ** (bits - 1))
const sign = (): number => (below(2) === 0 ? 1 : -1)
const neighbour = (value: number): number => float32FromBits(float32Bits(value) + below(5) - 2)
const nearOne = (): number => sign() * significand(24) * 2 ** (below(16) - 31)

/** Operand triples that go for one weakness each. */
const FAMILIES: Readonly<Record<string, () => [number, number, number]>> = {
  'any bits': () => [anyFloat(), anyFloat(), anyFloat()],
  'similar sizes': () => [nearOne(), nearOne(), nearOne()],
  cancellation: () => {
    const [a, b] = [nearOne(), nearOne()]
    return [a, b, neighbour(-Math.fround(a * b))]
  },
  'a product halfway between two float32, and a speck': () => {
    const scale = 2 ** (below(60) - 30)
    const odd = significand(12) | 1
    return [sign() * odd * scale, significand(13) | 1, sign() * 2 ** -(below(110) + 30) * (below(4) === 0 ? 0 : 1)]
  },
  'a sum halfway between two float32, short of it by a product': () => {
    return [sign() * (1 + 2 ** -20), 0.5 - 2 ** -21, sign() * significand(24)]
  },
  'subnormal results': () => {
    const c = below(3) === 0 ? sign() * below(2 ** 24) * TINY : sign() * below(8) * TINY
    return [sign() * significand(24) * 2 ** (-100 + below(6)), significand(24) * 2 ** (-98 - below(6)), c]
  },
  'subnormal ties': () => [sign() * significand(3) * 2 ** -75, 2 ** (-74 - below(4)), sign() * below(4) * TINY],
  'a subnormal sum halfway, short of it by a product': () => {
    return [sign() * (2 ** -75 + 2 ** -95), 2 ** -75 - 2 ** -95, sign() * significand(23) * TINY]
  },
  'the edge of overflow': () => [
    neighbour(2 ** 104),
    sign() * neighbour(2 ** (below(3) - 1)),
    sign() * neighbour(below(2) === 0 ? GREATEST : 2 ** 127),
  ],
  'the overflow tie and a speck': () => {
    const direction = sign()
    return [direction * TIE_FACTORS[0] * 2 ** 60, TIE_FACTORS[1] * 2 ** 43, sign() * 2 ** (below(260) - 149)]
  },
}

describe('float32 fused multiply-add', () => {
  for (const [family, draw] of Object.entries(FAMILIES)) {
    it(`equals exact rational arithmetic: ${family}`, () => {
      for (let round = 0; round < 20_000; round++) {
        const [a, b, c] = draw().map(Math.fround) as [number, number, number]
        const expected = exactFusedMultiplyAdd(a, b, c)
        const actual = fusedMultiplyAdd(a, b, c)
        if (!Object.is(actual, expected)) assert.fail(`${a}·${b} + ${c}: ${actual}, expected ${expected}`)
      }
    })
  }

  it('differs from rounding twice on the cases that ask for it', () => {
    let twice = 0
    for (let round = 0; round < 2000; round++) {
      const [a, b, c] = (FAMILIES['a product halfway between two float32, and a speck'] as () => number[])()
      if (Math.fround(a! * b! + c!) !== fusedMultiplyAdd(a!, b!, c!)) twice++
    }
    assert.ok(twice > 200, `only ${twice} of 2000`)
  })

  it('rounds at the overflow tie by the speck beside it', () => {
    const [a, b] = [2 ** 64, 2 ** 63 * 2]
    const short = -(2 ** 103)
    // 2¹²⁸ − 2¹⁰³ is the tie; it goes to even, which is infinity, unless something pulls it below.
    assert.equal(fusedMultiplyAdd(a, b, short), Infinity)
    assert.equal(fusedMultiplyAdd(a, b, float32FromBits(float32Bits(short) + 1)), GREATEST)
    assert.equal(fusedMultiplyAdd(-a, b, -short), -Infinity)
    const [left, right] = TIE_FACTORS
    assert.equal(left * right * 2 ** 103, (2 - 2 ** -24) * 2 ** 127)
    for (const sideways of [1, -1]) {
      const speck = (towards: number): number =>
        fusedMultiplyAdd(sideways * left * 2 ** 60, right * 2 ** 43, sideways * towards)
      assert.equal(speck(0), sideways * Infinity)
      assert.equal(speck(TINY), sideways * Infinity)
      assert.equal(speck(-TINY), sideways * GREATEST)
    }
  })

  it('follows IEEE 754 for signed zeros, infinities and NaN', () => {
    const specials = [0, -0, 1, -1, Infinity, -Infinity, NaN, TINY, -TINY, GREATEST]
    for (const a of specials) {
      for (const b of specials) {
        for (const c of specials) {
          assert.ok(Object.is(fusedMultiplyAdd(a, b, c), exactFusedMultiplyAdd(a, b, c)), `${a}·${b} + ${c}`)
        }
      }
    }
    assert.ok(Object.is(fusedMultiplyAdd(-0, 1, -0), -0))
    assert.ok(Object.is(fusedMultiplyAdd(1, 1, -1), 0))
    assert.ok(Number.isNaN(fusedMultiplyAdd(Infinity, 0, 1)))
    assert.ok(Number.isNaN(fusedMultiplyAdd(Infinity, 1, -Infinity)))
  })
})

describe('float32 words', () => {
  it('rounds +, −, · and ÷ once, subnormal results included', () => {
    for (let round = 0; round < 30_000; round++) {
      const a = round % 2 === 0 ? anyFloat() : sign() * significand(24) * 2 ** -100
      const b = round % 2 === 0 ? anyFloat() : significand(24) * 2 ** (-70 - below(8))
      assert.ok(Object.is(float32.mul(a, b), exactFusedMultiplyAdd(a, b, a * b < 0 ? -0 : 0)), `${a}·${b}`)
      assert.ok(Object.is(float32.add(a, b), exactFusedMultiplyAdd(a, 1, b)), `${a} + ${b}`)
      assert.ok(Object.is(float32.sub(a, b), exactFusedMultiplyAdd(b, -1, a)), `${a} − ${b}`)
      if (round % 2 === 1)
        assert.equal(float32.div(a, 2 ** 40), roundExact(decompose(a).significand, decompose(a).exponent - 40))
    }
  })

  it('divides and takes roots to the nearest float32, as exact products say', () => {
    for (let round = 0; round < 20_000; round++) {
      const [a, b] = [significand(24) * 2 ** (below(40) - 140), significand(24) * 2 ** (below(12) - 12)]
      assertNearest(float32.div(a, b), (q) => exactSign(q, b, a))
      const square = significand(24) * 2 ** (below(40) - 60)
      assertNearest(float32.sqrt(square), (q) => exactSign(q, q, square))
    }
  })

  it('wraps integers at 32 bits', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer(), fc.integer({ min: 0, max: 31 }), (a, b, bits) => {
        const wrap = (value: bigint): number => Number(BigInt.asIntN(32, value))
        assert.equal(float32.intAdd(a, b), wrap(BigInt(a) + BigInt(b)))
        assert.equal(float32.intSub(a, b), wrap(BigInt(a) - BigInt(b)))
        assert.equal(float32.intMul(a, b), wrap(BigInt(a) * BigInt(b)))
        assert.equal(float32.intShiftLeft(a, bits), wrap(BigInt(a) << BigInt(bits)))
        assert.equal(float32.intShiftRight(a, bits), wrap(BigInt.asUintN(32, BigInt(a)) >> BigInt(bits)))
        assert.equal(float32.intShiftSigned(a, bits), wrap(BigInt(a) >> BigInt(bits)))
        assert.equal(float32.intLess(a, b), a < b ? 1 : 0)
      }),
    )
    assert.equal(float32.int(0xffffffff), -1)
  })

  it('takes the nearest integer, ties to even', () => {
    const cases = [
      [0.5, 0],
      [1.5, 2],
      [2.5, 2],
      [-0.5, 0],
      [-1.5, -2],
      [-2.5, -2],
      [0.49999997, 0],
      [8388607.5, 8388608],
      [-2147483648, -2147483648],
      [2147483520, 2147483520],
    ] as const
    for (const [value, expected] of cases) {
      assert.ok(Object.is(float32.toInt(value), expected), `${value}`)
      assert.ok(Object.is(float64.toInt(value), expected), `${value}`)
    }
    assert.equal(float32.toFloat(16777217), 16777216)
    assert.ok(Number.isInteger(float32.toInt(NaN)) && Number.isInteger(float32.toInt(Infinity)))
  })

  it('keeps every bit pattern but those of NaN', () => {
    fc.assert(
      fc.property(fc.integer(), (bits) => {
        const value = float32.fromBits(bits)
        if (!Number.isNaN(value)) assert.equal(float32.bitsOf(value), bits)
      }),
    )
    assert.equal(float32.bitsOf(1), 0x3f800000)
    assert.equal(float32.bitsOf(-0), -0x80000000)
  })

  it('returns the second operand of min and max when either is NaN', () => {
    for (const name of ['min', 'max'] as const) {
      const word = (a: number, b: number): number => float32[name](a, b)
      assert.equal(word(NaN, 3), 3)
      assert.ok(Number.isNaN(word(3, NaN)))
      assert.ok(Object.is(word(0, -0), -0) && Object.is(word(-0, 0), 0))
    }
    assert.deepEqual([float32.min(1, 2), float32.max(1, 2)], [1, 2])
  })

  it('compares and selects with 0 and 1', () => {
    assert.deepEqual([float32.less(NaN, 1), float32.lessEqual(1, 1), float32.equal(0, -0)], [0, 1, 1])
    assert.deepEqual([float32.not(0), float32.not(1), float32.and(1, 0), float32.or(1, 0)], [1, 0, 0, 1])
    assert.deepEqual([float32.select(1, 5, 6), float32.select(0, 5, 6), float32.intSelect(0, 5, 6)], [5, 6, 6])
  })
})

describe('float64 words', () => {
  it('round nothing to float32 and have no bits', () => {
    assert.equal(float64.float(0.1), 0.1)
    assert.equal(float64.add(0.1, 0.2), 0.1 + 0.2)
    assert.equal(float64.fma(0.1, 0.2, 0.3), 0.1 * 0.2 + 0.3)
    assert.equal(float64.div(1, 3), 1 / 3)
    assert.equal(float64.sqrt(2), Math.SQRT2)
    assert.throws(() => float64.bitsOf(1), InternalError)
    assert.throws(() => float64.fromBits(1), InternalError)
  })
})

/** The sign of q·b − a, exactly; q and b may have 25 bits. */
function exactSign(q: number, b: number, a: number): number {
  const product = q * b
  // Both factors have at most 25 bits and no extreme exponents, so the product is exact.
  return product < a ? -1 : product > a ? 1 : 0
}

/** Asserts that a positive result is nearest: the midpoints to its neighbours lie on the far sides of the truth. */
function assertNearest(result: number, sideOf: (candidate: number) => number): void {
  const bits = float32Bits(result)
  const lower = (result + float32FromBits(bits - 1)) / 2
  const upper = (result + float32FromBits(bits + 1)) / 2
  const even = (bits & 1) === 0
  assert.ok(even ? sideOf(lower) <= 0 : sideOf(lower) < 0, `${result} is too great`)
  assert.ok(even ? sideOf(upper) >= 0 : sideOf(upper) > 0, `${result} is too small`)
}
