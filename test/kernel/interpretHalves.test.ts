// The 16-bit floats of the interpreter's memory, against the formats' own definitions.

import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { narrowBf16, narrowF16, widenBf16, widenF16 } from '../../compiler/kernel/halves.ts'

const formats = [
  { name: 'f16', widen: widenF16, narrow: narrowF16, greatest: 0x7bff },
  { name: 'bf16', widen: widenBf16, narrow: narrowBf16, greatest: 0x7f7f },
]

describe('16-bit floats', () => {
  for (const { name, widen, narrow, greatest } of formats) {
    it(`${name}: every value widens and narrows to itself`, () => {
      for (let half = 0; half < 65536; half++) {
        const isNaNBits = (half & 0x7fff) > greatest + 1
        const value = widen(half)
        assert.equal(Number.isNaN(value), isNaNBits)
        if (isNaNBits) assert.ok(Number.isNaN(widen(narrow(value))))
        else assert.equal(narrow(value), half)
      }
    })

    it(`${name}: narrowing takes the nearest neighbour, of two the even one`, () => {
      for (let half = 0; half < greatest; half += 7) {
        const [low, high] = [widen(half), widen(half + 1)]
        const middle = (low + high) / 2
        assert.equal(Math.fround(middle), middle)
        const even = half % 2 === 0 ? half : half + 1
        assert.equal(narrow(middle), even)
        assert.equal(narrow(-middle), even | 0x8000)
        assert.equal(narrow(Math.fround(low + (high - low) * 0.4375)), half)
        assert.equal(narrow(Math.fround(low + (high - low) * 0.5625)), half + 1)
      }
    })
  }

  it('agree with values known from the formats', () => {
    const f16 = [0x0001, 0x03ff, 0x0400, 0x3c00, 0x3555, 0x7bff, 0xfc00]
    const meant = [2 ** -24, 1023 * 2 ** -24, 2 ** -14, 1, 0.333251953125, 65504, -Infinity]
    assert.deepEqual(f16.map(widenF16), meant)
    assert.deepEqual([0x3f80, 0x4049, 0xff80].map(widenBf16), [1, 3.140625, -Infinity])
  })

  it('overflow to infinity from halfway beyond the greatest value', () => {
    assert.equal(narrowF16(65519.99609375), 0x7bff)
    assert.equal(narrowF16(65520), 0x7c00)
    assert.equal(narrowF16(-1e30), 0xfc00)
    assert.equal(narrowBf16(3.4028234663852886e38), 0x7f80)
  })
})
