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

const NONE = -1

/** Turns orders into placements, in memory that is taken once. */
export class LowestFit {
  readonly #buffers: Buffers
  /** What has been placed as a list by offset: one walk finds the lowest gap and where the buffer belongs in the list. */
  readonly #next: Int32Array
  /** Comparisons made so far: a clock that runs alike on every machine. */
  work = 0

  constructor(buffers: Buffers) {
    this.#buffers = buffers
    this.#next = new Int32Array(buffers.count)
  }

  place(order: Int32Array): Placement {
    const { bytes, first, last } = this.#buffers
    const next = this.#next
    const offsets = new Float64Array(order.length)
    let head = NONE
    let peak = 0
    let work = 0
    for (const index of order) {
      const size = bytes[index] as number
      const begins = first[index] as number
      const ends = last[index] as number
      let offset = 0
      let below = NONE
      for (let other = head; other !== NONE; other = next[other] as number) {
        work++
        const start = offsets[other] as number
        if ((last[other] as number) >= begins && (first[other] as number) <= ends) {
          if (start - offset >= size) break
          offset = Math.max(offset, start + (bytes[other] as number))
        }
        if (start <= offset) below = other
      }
      offsets[index] = offset
      peak = Math.max(peak, offset + size)
      next[index] = below === NONE ? head : (next[below] as number)
      if (below === NONE) head = index
      else next[below] = index
    }
    this.work += work
    return { offsets, peak }
  }
}
