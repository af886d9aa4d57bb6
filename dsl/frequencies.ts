// Rotary frequencies, computed while compiling in plain double arithmetic: no Math.pow, whose last bits differ between
// engines, so that the tables are the same bits everywhere. Knows nothing of tensors.

const LN2_HIGH = 6.9314718036912381649e-1
const LN2_LOW = 1.90821492927058770002e-10
const LN2 = 6.931471805599453e-1
const SQRT2 = 1.4142135623730951

/** ln x for x > 0, about 1e-15 relative: x = m·2^k with m near 1, then the odd series of atanh((m − 1)/(m + 1)). */
export function naturalLog(x: number): number {
  let mantissa = x
  let exponent = 0
  for (; mantissa > SQRT2; mantissa /= 2) exponent++
  for (; mantissa < SQRT2 / 2; mantissa *= 2) exponent--
  const ratio = (mantissa - 1) / (mantissa + 1)
  const square = ratio * ratio
  // |ratio| ≤ 0.1716, so the 13th term is below 1e-20.
  let series = 0
  for (let odd = 27; odd >= 1; odd -= 2) series = series * square + 1 / odd
  return exponent * LN2_HIGH + (exponent * LN2_LOW + 2 * ratio * series)
}

/** eˣ for |x| ≤ 700, about 1e-15 relative: 2^k · e^r with |r| ≤ ln 2 / 2, then Taylor. */
export function exponential(x: number): number {
  const halvings = Math.round(x / LN2)
  const rest = x - halvings * LN2_HIGH - halvings * LN2_LOW
  let series = 1
  for (let term = 18; term >= 1; term--) series = 1 + (series * rest) / term
  let scale = 1
  for (let step = 0; step < halvings; step++) scale *= 2
  for (let step = 0; step > halvings; step--) scale /= 2
  return series * scale
}

/**
 * The inverse frequencies θ^(−2i/d), i = 0 … d/2 − 1, of rotary position embedding (Su et al. 2021, section 3.2.2), each
 * step rounded to f32 as the published models were trained.
 */
export function rotaryFrequencies(theta: number, dimensions: number): number[] {
  const logTheta = naturalLog(theta)
  return Array.from({ length: dimensions / 2 }, (_, index) => {
    const power = Math.fround((2 * index) / dimensions)
    return Math.fround(1 / Math.fround(exponential(power * logTheta)))
  })
}
