// Numbers as people write them on a command line. What cannot be one is refused with the bounds that it is within.

import { InvalidArgumentError } from 'commander'

const MOST = 0x7fffffff

/** A whole number within bounds, which a refusal states both. */
function wholeNumber(text: string, least: number, most: number): number {
  const value = Number(text)
  if (/^\d{1,10}$/.test(text) && value >= least && value <= most) return value
  throw new InvalidArgumentError(`It is a whole number from ${least} to ${most.toLocaleString('en')}.`)
}

export function positiveInteger(text: string): number {
  return wholeNumber(text, 1, MOST)
}

export function count(text: string): number {
  return wholeNumber(text, 0, MOST)
}

export function threadCount(text: string): number {
  return wholeNumber(text, 1, 64)
}

/** Thread counts, each once: `1,2,4`. */
export function threadCounts(text: string): number[] {
  const counts = text.split(',').map((one) => threadCount(one.trim()))
  if (new Set(counts).size === counts.length) return counts
  throw new InvalidArgumentError('Each number stands once.')
}

/** A number above `low`, up to `high`. */
export function numberAbove(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (text.trim() !== '' && value > low && value <= high) return value
    throw new InvalidArgumentError(high === Infinity ? `It is above ${low}.` : `It is above ${low}, at most ${high}.`)
  }
}
