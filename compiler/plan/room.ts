// Which addresses of the arena are free at which moment, for ranges that come earlier, or stay longer, than they must: each
// grows where it lies, or moves to where it finds room for all of its longer life.

import type { Memory } from './ahead.ts'
import { align } from './arena.ts'
import type { Lifetime } from './arena.ts'
import type { Draft } from './drafts.ts'

/** What lies in the arena from one moment to another. */
interface Box {
  readonly bytes: number
  offset: number
}

export class Room implements Memory {
  readonly #limit: number
  readonly #boxes: readonly Box[]
  readonly #boxOf: ReadonlyMap<Draft, number>
  /** The boxes that are alive at each moment. */
  readonly #alive: readonly number[][]
  /** The query in which a box was last seen. */
  readonly #seen: Int32Array
  #query = 0

  /** `offsets`: of values, which stay where they are, then of ranges, for the lives that they have now; all end below `limit`. */
  constructor(
    values: readonly Lifetime[],
    ranges: readonly Draft[],
    offsets: readonly number[],
    moments: number,
    limit: number,
  ) {
    this.#limit = limit
    this.#alive = Array.from({ length: moments + 1 }, () => [])
    const lives = [...values, ...ranges.map(({ bytes, start, end }) => ({ bytes, first: start, last: end }))]
    this.#boxes = lives.map(({ bytes }, box) => ({ bytes: align(bytes), offset: offsets[box] as number }))
    lives.forEach(({ first, last }, box) => {
      for (let moment = first; moment <= last; moment++) this.#at(moment).push(box)
    })
    this.#boxOf = new Map(ranges.map((draft, place) => [draft, values.length + place]))
    this.#seen = new Int32Array(lives.length)
  }

  get offsets(): number[] {
    return this.#boxes.map(({ offset }) => offset)
  }

  grow(draft: Draft, moment: number): boolean {
    const own = this.#boxOf.get(draft) as number
    const box = this.#boxes[own] as Box
    if (!this.#isFree(box, moment)) {
      const offset = this.#place(own, Math.min(draft.start, moment), Math.max(draft.end, moment))
      if (offset === undefined) return false
      box.offset = offset
    }
    this.#at(moment).push(own)
    return true
  }

  #at(moment: number): number[] {
    return this.#alive[moment] as number[]
  }

  #isFree({ offset, bytes }: Box, moment: number): boolean {
    return this.#at(moment).every((other) => {
      const { offset: from, bytes: size } = this.#boxes[other] as Box
      return from >= offset + bytes || from + size <= offset
    })
  }

  /** The lowest place for a box from one moment to another; undefined where there is none. */
  #place(own: number, from: number, to: number): number | undefined {
    this.#query++
    const others: Box[] = []
    for (let moment = from; moment <= to; moment++) {
      for (const other of this.#at(moment)) {
        if (other === own || this.#seen[other] === this.#query) continue
        this.#seen[other] = this.#query
        others.push(this.#boxes[other] as Box)
      }
    }
    others.sort((a, b) => a.offset - b.offset)
    const { bytes } = this.#boxes[own] as Box
    let free = 0
    for (const { offset, bytes: size } of others) {
      if (offset - free >= bytes) break
      free = Math.max(free, offset + size)
    }
    return free + bytes <= this.#limit ? free : undefined
  }
}
