import assert from 'node:assert/strict'
import { float32BitsOfFloat16, widenBfloat16, widenFloat16 } from '../../formats/halves.ts'

// The oracle computes values by the definition of the formats, in float64; the code under test moves bits.
function valueOf(bits: number, exponentBits: number, fractionBits: number): number {
  const sign = bits >>> (exponentBits + fractionBits) === 1 ? -1 : 1
  const exponent = Math.floor(bits / 2 ** fractionBits) % 2 ** exponentBits
  const fraction = bits % 2 ** fractionBits
  const bias = 2 ** (exponentBits - 1) - 1
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias - fractionBits)
  return sign * (1 + fraction * 2 ** -fractionBits) * 2 ** (exponent - bias)
}

const ALL = Uint16Array.from({ length: 65536 }, (_, bits) => bits)

describe('widening halves', () => {
  for (const [name, widen, exponentBits, fractionBits] of [
    ['float16', widenFloat16, 5, 10],
    ['bfloat16', widenBfloat16, 8, 7],
  ] as const) {
    it(`gives the value of every ${name} pattern`, () => {
      const widened = new Float32Array(65536).fill(-77)
      widen(ALL, widened)
      let nans = 0
      for (const bits of ALL) {
        const expected = valueOf(bits, exponentBits, fractionBits)
        if (Number.isNaN(expected)) nans++
        assert.ok(
          Object.is(widened[bits], expected),
          `${name} 0x${bits.toString(16)}: ${widened[bits]} for ${expected}`,
        )
      }
      assert.equal(nans, 2 * (2 ** fractionBits - 1))
    })
  }

  it('keeps sign and payload of a NaN', () => {
    assert.equal(float32BitsOfFloat16(0x7c01), 0x7f802000)
    assert.equal(float32BitsOfFloat16(0xfe03), 0xffc06000)
    const widened = new Float32Array(2)
    widenFloat16(Uint16Array.of(0x7c01, 0xfe03), widened)
    assert.deepEqual([...new Uint32Array(widened.buffer)], [0x7f802000, 0xffc06000])
    widenBfloat16(Uint16Array.of(0x7f81, 0xffc3), widened)
    assert.deepEqual([...new Uint32Array(widened.buffer)], [0x7f810000, 0xffc30000])
  })

  it('writes only into its target, also at an offset', () => {
    const memory = new Float32Array(5).fill(9)
    widenFloat16(Uint16Array.of(0x3c00, 0xc000), memory.subarray(2, 4))
    assert.deepEqual([...memory], [9, 9, 1, -2, 9])
  })
})
