// Which addresses of the arena are free at which moment, for ranges that come earlier, or stay longer, than they must: each
// grows where it lies, or moves to where it finds room for all of its longer life.

import type { Memory } from './ahead.ts'
import { align } from './arena.ts'
import type { Lifetime } from './arena.ts'
import type { Draft } from './drafts.ts'
import { lifeOf } from './moments.ts'

/** What lies in the arena from one moment to another. */
interface Box {
  readonly bytes: number
  offset: number
  first: number
  last: number
}

/** Moments whose boxes are looked up together: most live for many moments. */
const STRETCH = 64

export class Room implements Memory {
  readonly #limit: number
  readonly #boxes: readonly Box[]
  readonly #boxOf: ReadonlyMap<Draft, number>
  /** Bytes of what is alive at each moment. */
  readonly #alive: Float64Array
  /** The boxes that begin, and end, at each moment, and such as did before they grew. */
  readonly #beginning: readonly Box[][]
  readonly #ending: readonly Box[][]
  /** The boxes that are alive in each stretch of moments. */
  readonly #stretches: readonly number[][]
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
    this.#alive = new Float64Array(moments + 1)
    this.#beginning = Array.from(this.#alive, () => [])
    this.#ending = Array.from(this.#alive, () => [])
    this.#stretches = Array.from({ length: Math.floor(moments / STRETCH) + 1 }, () => [])
    const lives = [...values, ...ranges.map(lifeOf)]
    this.#boxes = lives.map(({ bytes, first, last }, box) => ({
      bytes: align(bytes),
      offset: offsets[box] as number,
      first,
      last,
    }))
    this.#boxes.forEach((box, own) => {
      const { first, last } = box
      for (let moment = first; moment <= last; moment++) this.#add(box, moment)
      for (let place = stretchOf(first); place <= stretchOf(last); place++) this.#stretch(place).push(own)
      this.#beginning[first]?.push(box)
      this.#ending[last]?.push(box)
    })
    this.#boxOf = new Map(ranges.map((draft, place) => [draft, values.length + place]))
    this.#seen = new Int32Array(lives.length)
  }

  get offsets(): number[] {
    return this.#boxes.map(({ offset }) => offset)
  }

  /** `moment`: the one before its first, or behind its last. */
  grow(draft: Draft, moment: number): boolean {
    const own = this.#boxOf.get(draft) as number
    const box = this.#boxes[own] as Box
    // Most moments are full, wherever things lie.
    if ((this.#alive[moment] as number) + box.bytes > this.#limit) return false
    if (!this.#isFree(box, moment)) {
      const offset = this.#place(own, Math.min(box.first, moment), Math.max(box.last, moment))
      if (offset === undefined) return false
      box.offset = offset
    }
    this.#add(box, moment)
    const place = stretchOf(moment)
    if (place < stretchOf(box.first) || place > stretchOf(box.last)) this.#stretch(place).push(own)
    const isEarlier = moment < box.first
    if (isEarlier) box.first = moment
    else box.last = moment
    this.#changingAt(moment, isEarlier ? 'beginning' : 'ending').push(box)
    return true
  }

  #add({ bytes }: Box, moment: number): void {
    this.#alive[moment] = (this.#alive[moment] as number) + bytes
  }

  #changingAt(moment: number, change: 'beginning' | 'ending'): Box[] {
    return (change === 'beginning' ? this.#beginning : this.#ending)[moment] as Box[]
  }

  #stretch(place: number): number[] {
    return this.#stretches[place] as number[]
  }

  /** Whether nothing else lies there at a moment beside its life. What is alive in both moments does not, as it is. */
  #isFree({ offset, bytes, first }: Box, moment: number): boolean {
    const isEarlier = moment < first
    for (const other of this.#changingAt(moment, isEarlier ? 'ending' : 'beginning')) {
      if ((isEarlier ? other.last : other.first) !== moment) continue
      if (other.offset < offset + bytes && other.offset + other.bytes > offset) return false
    }
    return true
  }

  /** The lowest place for a box from one moment to another; undefined where there is none. */
  #place(own: number, from: number, to: number): number | undefined {
    this.#query++
    const others: Box[] = []
    for (let place = stretchOf(from); place <= stretchOf(to); place++) {
      for (const other of this.#stretch(place)) {
        const box = this.#boxes[other] as Box
        if (other === own || this.#seen[other] === this.#query || box.last < from || box.first > to) continue
        this.#seen[other] = this.#query
        others.push(box)
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

function stretchOf(moment: number): number {
  return Math.floor(moment / STRETCH)
}
