// The 16-bit floats as they lie in memory: widening is exact, narrowing rounds to nearest, ties to even.
// Knows nothing of kernels.

import { float32Bits, float32FromBits } from '../graph/float32.ts'

/** The float32 that a bf16's 16 bits stand for. */
export function widenBf16(half: number): number {
  return float32FromBits(half << 16)
}

/** The 16 bits of the bf16 nearest to a float32; NaN stays a (quiet) NaN. */
export function narrowBf16(value: number): number {
  const bits = float32Bits(value)
  if (Number.isNaN(value)) return ((bits >>> 16) | 0x40) & 0xffff
  // Half of the last kept bit, less one when that bit is even, carries into the kept part exactly where it should.
  const tieToEven = 0x7fff + ((bits >>> 16) & 1)
  return ((bits + tieToEven) >>> 16) & 0xffff
}

/** The float32 that an f16's 16 bits stand for. */
export function widenF16(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >>> 10) & 0x1f
  const mantissa = half & 0x3ff
  if (exponent === 0x1f) return mantissa === 0 ? sign * Infinity : NaN
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1024 + mantissa) * 2 ** (exponent - 25)
}

/** The 16 bits of the f16 nearest to a float32; 65520 and beyond give infinity, NaN stays a (quiet) NaN. */
export function narrowF16(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  if (Number.isNaN(value)) return 0x7e00
  const magnitude = Math.abs(value)
  if (magnitude >= 65520) return sign | 0x7c00
  // The unit in the last place at this magnitude, 2⁻²⁴ among subnormals.
  const exponent = Math.max(-14, Math.floor(Math.log2(Math.max(magnitude, 2 ** -126))))
  const exact = magnitude < 2 ** exponent ? exponent - 1 : magnitude >= 2 ** (exponent + 1) ? exponent + 1 : exponent
  const unit = Math.max(-14, exact) - 10
  const steps = roundToEven(magnitude * 2 ** -unit)
  // Counting in units runs on into the exponent field by itself, up to infinity.
  return sign | (steps + (unit + 24) * 1024)
}

function roundToEven(value: number): number {
  const low = Math.floor(value)
  const rest = value - low
  return rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low
}
