// What a step from storage costs beside the least that it could: the longer of computing and of what is moved. Arithmetic.

export interface Price {
  /** Of the step, as a multiple of max(computing, storage). Absent where computing was not measured. */
  readonly price?: number
  /** As a multiple of what storage takes alone. Absent where nothing is moved. */
  readonly storagePrice?: number
}

/** All in seconds. `computing`: of the step with all weights in memory, where it was measured. */
export function priceOf(step: number, storage: number, computing?: number): Price {
  return {
    ...(computing === undefined ? {} : { price: step / Math.max(computing, storage) }),
    ...(storage === 0 ? {} : { storagePrice: step / storage }),
  }
}

export function priceText({ price, storagePrice }: Price, storageSeconds: number): string {
  const storage = `${storageSeconds.toFixed(2)} s of storage`
  if (price !== undefined) return `${price.toFixed(2)} × max(compute, ${storage})`
  if (storagePrice === undefined) return 'nothing is moved'
  return `${storagePrice.toFixed(2)} × ${storage}, without computing, which was not measured`
}
