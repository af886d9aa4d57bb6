// Exact widening of the two 16-bit float formats to 32 bits. Knows nothing of files or tensors.

/** The bits of the float32 equal to the IEEE 754 binary16 with bits `half`; a NaN keeps its sign and payload. */
export function float32BitsOfFloat16(half: number): number {
  const sign = (half & 0x8000) << 16
  const exponent = (half >>> 10) & 0x1f
  const fraction = half & 0x3ff
  if (exponent === 0x1f) return (sign | 0x7f800000 | (fraction << 13)) >>> 0
  if (exponent !== 0) return (sign | ((exponent + 112) << 23) | (fraction << 13)) >>> 0
  if (fraction === 0) return sign >>> 0
  // Subnormal: 2^-24 · fraction has a leading one that float32 can make implicit.
  const shift = Math.clz32(fraction) - 21
  return (sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13)) >>> 0
}

let float16Table: Uint32Array | undefined

/** Widens binary16 values into `target`, element by element. Bits are moved as integers, so that no NaN is quieted. */
export function widenFloat16(source: Uint16Array, target: Float32Array): void {
  float16Table ??= Uint32Array.from({ length: 65536 }, (_, half) => float32BitsOfFloat16(half))
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length)
  for (let index = 0; index < source.length; index++) bits[index] = float16Table[source[index]!]!
}

/** Widens bfloat16 values (the upper half of a float32) into `target`, element by element. */
export function widenBfloat16(source: Uint16Array, target: Float32Array): void {
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length)
  for (let index = 0; index < source.length; index++) bits[index] = source[index]! << 16
}
