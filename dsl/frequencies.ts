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

/** How rotary positions are stretched beyond the length a model was first trained at. */
export type RopeScaling =
  /** Every position divided by `factor` (Chen et al. 2023). */
  | { readonly type: 'linear'; readonly factor: number }
  /** Llama 3.1: wavelengths beyond originalLength/lowFrequency by `factor`, below originalLength/highFrequency as they are. */
  | {
      readonly type: 'llama3'
      readonly factor: number
      readonly lowFrequency: number
      readonly highFrequency: number
      readonly originalLength: number
    }
  /** YaRN (Peng et al. 2023): dimensions that turn fewer than `betaSlow` times in originalLength are stretched by `factor`. */
  | {
      readonly type: 'yarn'
      readonly factor: number
      readonly originalLength: number
      /** Dimensions that turn more often are left as they are; 32 unless stated. */
      readonly betaFast?: number
      /** 1 unless stated. */
      readonly betaSlow?: number
      /** What cosines and sines are multiplied with; 0.1·ln(factor) + 1 unless stated. */
      readonly attentionFactor?: number
      /** Whether the ramp between the two begins and ends at whole dimensions; it does unless stated. */
      readonly truncate?: boolean
    }

export interface RotaryTable {
  /** Radians a position, for each pair of dimensions. */
  readonly frequencies: readonly number[]
  /** What cosines and sines are multiplied with. */
  readonly amplitude: number
}

const f32 = Math.fround

/**
 * The inverse frequencies θ^(−2i/d), i = 0 … d/2 − 1, of rotary position embedding (Su et al. 2021, section 3.2.2), and
 * what a scaling makes of them. Each step is rounded to f32 in the order of transformers' `modeling_rope_utils.py`, as
 * the published models were trained.
 */
export function rotaryTable(theta: number, dimensions: number, scaling?: RopeScaling): RotaryTable {
  const plain = wavelengthsOf(theta, dimensions).map((power) => f32(1 / power))
  if (scaling === undefined) return { frequencies: plain, amplitude: 1 }
  switch (scaling.type) {
    case 'linear':
      return { frequencies: plain.map((one) => f32(one / f32(scaling.factor))), amplitude: 1 }
    case 'llama3':
      return { frequencies: plain.map((one) => llama3Frequency(one, scaling)), amplitude: 1 }
    case 'yarn':
      return yarnTable(theta, dimensions, scaling)
  }
}

/** θ^(2i/d): positions a radian. */
function wavelengthsOf(theta: number, dimensions: number): number[] {
  const logTheta = naturalLog(theta)
  return Array.from({ length: dimensions / 2 }, (_, index) =>
    f32(exponential(f32((2 * index) / dimensions) * logTheta)),
  )
}

type Llama3Scaling = Extract<RopeScaling, { readonly type: 'llama3' }>

/** Between the two wavelengths a mean of both, weighted by where in between (the reference code of Llama 3.1). */
function llama3Frequency(frequency: number, scaling: Llama3Scaling): number {
  const { lowFrequency, highFrequency, originalLength } = scaling
  const factor = f32(scaling.factor)
  const wavelength = f32(f32(1 / frequency) * f32(2 * Math.PI))
  if (wavelength > f32(originalLength / lowFrequency)) return f32(frequency / factor)
  if (wavelength < f32(originalLength / highFrequency)) return frequency
  const turns = f32(f32(1 / wavelength) * f32(originalLength))
  const share = f32(f32(turns - f32(lowFrequency)) / f32(highFrequency - lowFrequency))
  const stretched = f32(f32(f32(1 - share) * frequency) / factor)
  return f32(stretched + f32(share * frequency))
}

type YarnScaling = Extract<RopeScaling, { readonly type: 'yarn' }>

/** Peng et al. 2023, section 3.2 ("NTK-by-parts") and 3.4 (the amplitude). */
function yarnTable(theta: number, dimensions: number, scaling: YarnScaling): RotaryTable {
  const { factor, originalLength, betaFast = 32, betaSlow = 1, truncate = true } = scaling
  /** The dimension that turns so many times within the original length. */
  const turning = (times: number): number =>
    (dimensions * naturalLog(originalLength / (times * 2 * Math.PI))) / (2 * naturalLog(theta))
  const [fast, slow] = [turning(betaFast), turning(betaSlow)]
  const from = Math.max(truncate ? Math.floor(fast) : fast, 0)
  const to = Math.min(truncate ? Math.ceil(slow) : slow, dimensions - 1)
  const width = from === to ? 0.001 : to - from
  const frequencies = wavelengthsOf(theta, dimensions).map((wavelength, index) => {
    const ramp = f32(f32(index - f32(from)) / f32(width))
    const kept = f32(1 - Math.min(Math.max(ramp, 0), 1))
    const stretched = f32(1 / f32(f32(factor) * wavelength))
    return f32(f32(stretched * f32(1 - kept)) + f32(f32(1 / wavelength) * kept))
  })
  const amplitude = scaling.attentionFactor ?? (factor <= 1 ? 1 : 0.1 * naturalLog(factor) + 1)
  return { frequencies, amplitude }
}
