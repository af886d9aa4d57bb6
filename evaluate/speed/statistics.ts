// Order statistics of timings: machines are shared, so a mean says little.

/** In the unit of what was measured. */
export interface Quartiles {
  readonly low: number
  readonly median: number
  readonly high: number
}

/** First quartile, median and third; between two values in proportion (Hyndman and Fan 1996, definition 7). */
export function quartiles(values: readonly number[]): Quartiles {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number): number => {
    const place = share * (sorted.length - 1)
    const below = sorted[Math.floor(place)] ?? NaN
    const above = sorted[Math.ceil(place)] ?? NaN
    return below + (above - below) * (place - Math.floor(place))
  }
  return { low: at(0.25), median: at(0.5), high: at(0.75) }
}
