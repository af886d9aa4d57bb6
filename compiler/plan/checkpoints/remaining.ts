// A lower bound on the seconds of the layers that are still to be decided: as if choices could be mixed, so that each byte goes
// where it saves most. Lets the search over a chain drop what cannot become the best.

import type { Choice } from './chain.ts'

/** Going from a smaller choice to a larger one on the lower hull of a layer. */
interface Segment {
  readonly layer: number
  readonly bytes: number
  readonly saved: number
}

/** Bounds for the first layers of a chain, which together may keep so many bytes. What cannot be chosen takes infinitely long. */
export class RemainingSeconds {
  readonly #layers: readonly (readonly Choice[])[]
  readonly #capacity: number
  readonly #after: number
  /** By the first layer that is not decided. */
  readonly #suffixes: readonly Suffix[]

  /** `after`: what further layers take at least. */
  constructor(layers: readonly (readonly Choice[])[], capacity: number, after = 0) {
    this.#layers = layers
    this.#capacity = capacity
    this.#after = after
    const hulls = layers.map(hullOf)
    const segments = hulls.flatMap((hull, layer) =>
      hull.slice(1).map((choice, place): Segment => {
        const before = hull[place] as Choice
        return { layer, bytes: choice.kept - before.kept, saved: before.seconds - choice.seconds }
      }),
    )
    segments.sort((a, b) => b.saved * a.bytes - a.saved * b.bytes)
    this.#suffixes = [...layers.keys(), layers.length].map((first) => {
      const least = hulls.slice(first).flatMap((hull) => hull.slice(0, 1))
      return new Suffix(
        least,
        segments.filter(({ layer }) => layer >= first),
      )
    })
  }

  /** From layer `first` on, with so many bytes kept before. */
  from(first: number, kept: number): number {
    const suffix = this.#suffixes[first]
    // Further layers are decided as well then, and what they take is known.
    return suffix ? this.#after + suffix.within(this.#capacity - kept) : 0
  }

  /** By layer and choice: whether a plan with it may take less than `known`. */
  canImprove(known: number): boolean[][] {
    const [all] = this.#suffixes
    const price = all?.priceAt(this.#capacity) ?? 0
    const priced = this.#layers.map((choices) => choices.map(({ kept, seconds }) => seconds + price * kept))
    const least = priced.map((prices) => prices.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY))
    const bound = least.reduce((sum, one) => sum + one, this.#after - price * this.#capacity)
    return priced.map((prices, layer) => prices.map((one) => bound + one - (least[layer] as number) < known))
  }
}

class Suffix {
  readonly #bytes: number
  readonly #seconds: number
  readonly #segments: readonly Segment[]
  /** Sums over segments, the best saving first. */
  readonly #bytesSums: readonly number[]
  readonly #savedSums: readonly number[]

  constructor(least: readonly Choice[], segments: readonly Segment[]) {
    this.#bytes = least.reduce((sum, { kept }) => sum + kept, 0)
    this.#seconds = least.reduce((sum, { seconds }) => sum + seconds, 0)
    this.#segments = segments
    const bytesSums = [0]
    const savedSums = [0]
    for (const [place, { bytes, saved }] of segments.entries()) {
      bytesSums.push((bytesSums[place] as number) + bytes)
      savedSums.push((savedSums[place] as number) + saved)
    }
    this.#bytesSums = bytesSums
    this.#savedSums = savedSums
  }

  /** At least so many seconds where so many bytes may be kept. */
  within(bytes: number): number {
    const room = bytes - this.#bytes
    if (room < 0) return Number.POSITIVE_INFINITY
    const place = this.#segmentAt(room)
    const saved = this.#savedSums[place] as number
    const segment = this.#segments[place]
    if (!segment) return this.#seconds - saved
    return this.#seconds - saved - ((room - (this.#bytesSums[place] as number)) / segment.bytes) * segment.saved
  }

  /** Seconds that one more byte would save. */
  priceAt(bytes: number): number {
    const segment = this.#segments[this.#segmentAt(Math.max(0, bytes - this.#bytes))]
    return segment ? segment.saved / segment.bytes : 0
  }

  /** The segment that so many bytes end in. */
  #segmentAt(room: number): number {
    let low = 0
    let high = this.#segments.length
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#bytesSums[middle] as number) <= room) low = middle
      else high = middle - 1
    }
    return low
  }
}

/** The choices that are best for some price of a byte, from the smallest on. */
function hullOf(choices: readonly Choice[]): Choice[] {
  const hull: Choice[] = []
  const possible = choices.filter(({ seconds }) => Number.isFinite(seconds))
  for (const next of possible.toSorted((a, b) => a.kept - b.kept || a.seconds - b.seconds)) {
    const last = hull.at(-1)
    if (last && next.seconds >= last.seconds) continue
    for (;;) {
      const [a, b] = [hull.at(-2), hull.at(-1)]
      if (!a || !b) break
      const isAbove = (a.seconds - b.seconds) * (next.kept - a.kept) <= (a.seconds - next.seconds) * (b.kept - a.kept)
      if (!isAbove) break
      hull.pop()
    }
    hull.push(next)
  }
  return hull
}
