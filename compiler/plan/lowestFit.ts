// Buffers one after another, each at the lowest offset that is free for its whole life. Which order to take is the
// search's question.

/** Sizes and lives of buffers as columns. */
export interface Buffers {
  readonly count: number
  readonly bytes: Float64Array
  readonly first: Int32Array
  readonly last: Int32Array
}

export interface Placement {
  readonly offsets: Float64Array
  readonly peak: number
}

/** Buffers that begin in the same stretch of time, where there are many: ranges from storage, which live for a moment. */
const STRETCH = 512
/** What finding one buffer and putting it in order costs, beside looking at one that is in order. */
const ORDERING = 8
/** With fewer, one stretch is all of the time. */
const MANY = 8192

/** What has been placed of the buffers that are alive in one stretch of time, by offset. */
interface Stretch {
  readonly placed: Int32Array
  count: number
}

/** Turns orders into placements, in memory that is taken once. */
export class LowestFit {
  readonly #buffers: Buffers
  readonly #stretches: readonly Stretch[]
  /** All that has been placed: for buffers that live in most stretches. */
  readonly #all: Stretch
  /** Of each buffer, the stretches of its first moment and its last. */
  readonly #from: Int32Array
  readonly #to: Int32Array
  readonly #seen: Int32Array
  /** Comparisons made so far: a clock that runs alike on every machine. */
  work = 0

  constructor(buffers: Buffers) {
    const { count, first, last } = buffers
    this.#buffers = buffers
    const starts = first.slice().sort()
    const begins = Array.from({ length: count < MANY ? 0 : Math.floor(count / STRETCH) }, (_, place) => starts[(place + 1) * STRETCH - 1] as number) // prettier-ignore
    this.#from = first.map((moment) => stretchOf(begins, moment))
    this.#to = last.map((moment) => stretchOf(begins, moment))
    const sizes = new Int32Array(begins.length + 1)
    for (let index = 0; index < count; index++) {
      for (let place = this.#from[index] as number; place <= (this.#to[index] as number); place++)
        sizes[place] = (sizes[place] as number) + 1
    }
    this.#stretches = Array.from(sizes, (size) => ({ placed: new Int32Array(size), count: 0 }))
    this.#all = { placed: new Int32Array(this.#stretches.length === 1 ? 0 : count), count: 0 }
    this.#seen = new Int32Array(count)
  }

  place(order: Int32Array): Placement {
    const { bytes } = this.#buffers
    const offsets = new Float64Array(order.length)
    for (const stretch of [...this.#stretches, this.#all]) stretch.count = 0
    const isCut = this.#stretches.length > 1
    this.#seen.fill(-1)
    let peak = 0
    for (const index of order) {
      const [from, to] = [this.#from[index] as number, this.#to[index] as number]
      const offset = from === to ? this.#lowestIn(from, index, offsets) : this.#lowestAmong(from, to, index, offsets)
      offsets[index] = offset
      peak = Math.max(peak, offset + (bytes[index] as number))
      for (let place = from; place <= to; place++) insert(this.#stretches[place] as Stretch, index, offsets)
      if (isCut) insert(this.#all, index, offsets)
    }
    return { offsets, peak }
  }

  /** The lowest offset for a buffer that lives in one stretch. */
  #lowestIn(place: number, index: number, offsets: Float64Array): number {
    const { placed, count } = this.#stretches[place] as Stretch
    return this.#lowestGap(placed, count, index, offsets)
  }

  /** The lowest offset for one that lives in several. */
  #lowestAmong(from: number, to: number, index: number, offsets: Float64Array): number {
    // Looking at everything in order is quicker than putting much of it in order.
    let inStretches = 0
    for (let place = from; place <= to; place++) inStretches += (this.#stretches[place] as Stretch).count
    if (ORDERING * inStretches >= this.#all.count)
      return this.#lowestGap(this.#all.placed, this.#all.count, index, offsets)
    const { first, last } = this.#buffers
    const [begins, ends] = [first[index] as number, last[index] as number]
    const others: number[] = []
    for (let place = from; place <= to; place++) {
      const { placed, count } = this.#stretches[place] as Stretch
      this.work += count
      for (let at = 0; at < count; at++) {
        const other = placed[at] as number
        if (this.#seen[other] === index || (last[other] as number) < begins || (first[other] as number) > ends) continue
        this.#seen[other] = index
        others.push(other)
      }
    }
    const lowestFirst = Int32Array.from(others).sort((a, b) => (offsets[a] as number) - (offsets[b] as number))
    return this.#lowestGap(lowestFirst, lowestFirst.length, index, offsets)
  }

  /** The lowest gap between buffers by offset, of which those count that are alive at the same time. */
  #lowestGap(placed: Int32Array, count: number, index: number, offsets: Float64Array): number {
    const { bytes, first, last } = this.#buffers
    const [size, begins, ends] = [bytes[index] as number, first[index] as number, last[index] as number]
    let offset = 0
    let at = 0
    for (; at < count; at++) {
      const other = placed[at] as number
      if ((last[other] as number) < begins || (first[other] as number) > ends) continue
      const start = offsets[other] as number
      if (start - offset >= size) break
      offset = Math.max(offset, start + (bytes[other] as number))
    }
    this.work += Math.min(at + 1, count)
    return offset
  }
}

/** The stretch of a moment, of those that begin behind these moments. */
function stretchOf(begins: readonly number[], moment: number): number {
  let [low, high] = [0, begins.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((begins[middle] as number) < moment) low = middle + 1
    else high = middle
  }
  return low
}

function insert(stretch: Stretch, index: number, offsets: Float64Array): void {
  const { placed, count } = stretch
  const offset = offsets[index] as number
  let [low, high] = [0, count]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((offsets[placed[middle] as number] as number) <= offset) low = middle + 1
    else high = middle
  }
  placed.copyWithin(low + 1, low, count)
  placed[low] = index
  stretch.count++
}
