// Which elements of a buffer accesses touch, as boxes: a set of places along each dimension. Sizes of unions are exact for
// the boxes; an access along whose dimensions one variable moves together is enclosed by its box. Knows no loops.

import { addIndex } from './index.ts'
import type { Index, Range } from './index.ts'
import { atomAt, mentioned } from './pieces.ts'
import type { Places } from './pieces.ts'
import { printIndex } from './print.ts'

/** Disjoint ascending ranges, inclusive. */
export type Extent = readonly Range[]

export interface Box {
  readonly dims: readonly Extent[]
}

/** Ranges of one set before it is enclosed by a single one. */
const MOST_RANGES = 4096

/** Boxes of one buffer. */
export class Boxes {
  readonly #boxes = new Map<string, Box>()
  /** Rows that are looked up: nobody knows which, so each lookup gets rows of its own, at most all there are. */
  readonly #lookups = new Map<string, Range>()
  #rows = 0
  #size: number | undefined
  readonly #sizes: readonly number[]

  /** `sizes` of the buffer's dimensions: an index that is enclosed loosely still stays in it. */
  constructor(sizes: readonly number[] = []) {
    this.#sizes = sizes
  }

  /** `count` neighbours along the last dimension from where `indices` point, for everything in `places`. */
  add(indices: readonly Index[], places: Places, count: number): void {
    const last = indices.length - 1
    const dims = indices.map((index, place) =>
      this.#inside(this.#places(index, places, place === last ? count : 1), place),
    )
    this.#size = undefined
    this.#boxes.set(dims.map((dim) => dim.map(({ low, high }) => `${low}:${high}`).join()).join(' '), { dims })
  }

  addAll(other: Boxes): void {
    this.#size = undefined
    for (const [key, box] of other.#boxes) this.#boxes.set(key, box)
  }

  /** Elements in any of the boxes. */
  get size(): number {
    this.#size ??= unionSize([...this.#boxes.values()], 0)
    return this.#size
  }

  /** Bounds of the size that cost little: the largest box, and all of them as if they lay apart. */
  get sizeRange(): Range {
    if (this.#size !== undefined) return { low: this.#size, high: this.#size }
    let low = 0
    let high = 0
    for (const { dims } of this.#boxes.values()) {
      const size = dims.reduce((product, dim) => product * lengthOf(dim), 1)
      low = Math.max(low, size)
      high += size
    }
    return { low, high }
  }

  #inside(extent: Extent, dimension: number): Extent {
    const size = this.#sizes[dimension]
    if (size === undefined) return extent
    return extent.flatMap(({ low, high }) => {
      const range = { low: Math.max(0, low), high: Math.min(size - 1, high) }
      return range.low <= range.high ? [range] : []
    })
  }

  #places(index: Index, places: Places, count: number): Extent {
    const looked = index.terms.filter(({ atom }) => atom.kind === 'value')
    if (looked.length === 0) return placesOf(index, places, count)
    const [first] = looked
    const atom = first?.atom
    // Arithmetic with what was looked up: any place may be meant.
    if (looked.length !== 1 || atom?.kind !== 'value') return placesOf(index, places, count)
    const rest = { constant: index.constant, terms: index.terms.filter((term) => term !== first) }
    const names = [...mentioned(index)].filter((name) => places.has(name))
    const at = names.map((name) => `${name} ${places.get(name)?.low} ${places.get(name)?.high}`)
    const key = [printIndex({ constant: 0, terms: [{ scale: 1, atom }] }), ...at].join()
    const known = this.#lookups.get(key)
    const lookups = names.reduce((product, name) => {
      const range = places.get(name)
      return product * (range ? range.high - range.low + 1 : 1)
    }, 1)
    const rows = known ?? {
      low: Math.min(this.#rows, atom.below - 1),
      high: Math.min(this.#rows + lookups, atom.below) - 1,
    }
    if (!known) this.#rows = rows.high + 1
    this.#lookups.set(key, rows)
    const stand: Places = new Map(places).set('\0row', rows)
    const scaled = { scale: first?.scale ?? 1, atom: { kind: 'variable', name: '\0row' } } as const
    return placesOf(addIndex(rest, { constant: 0, terms: [scaled] }), stand, count)
  }
}

/** The values of an index over `places`, each with the `count` − 1 that follow it. */
function placesOf(index: Index, places: Places, count: number): Extent {
  let base = index.constant
  const steps: { readonly step: number; readonly times: number }[] = []
  for (const { scale, atom } of index.terms) {
    const { low, high } = atomAt(atom, places)
    base += scale * (scale > 0 ? low : high)
    if (high > low) steps.push({ step: Math.abs(scale), times: high - low + 1 })
  }
  steps.sort((a, b) => a.step - b.step)
  let ranges: Range[] = [{ low: base, high: base + count - 1 }]
  for (const { step, times } of steps) {
    const [first] = ranges
    const reach = step * (times - 1)
    if (first && ranges.length === 1 && step <= first.high - first.low + 1) {
      ranges = [{ low: first.low, high: first.high + reach }]
    } else if (ranges.length * times > MOST_RANGES) {
      ranges = [{ low: first?.low ?? base, high: (ranges.at(-1)?.high ?? base) + reach }]
    } else {
      ranges = merged(
        Array.from({ length: times }, (_, time) =>
          ranges.map(({ low, high }) => ({ low: low + time * step, high: high + time * step })),
        ).flat(),
      )
    }
  }
  return ranges
}

function lengthOf(extent: Extent): number {
  return extent.reduce((sum, { low, high }) => sum + high - low + 1, 0)
}

function merged(ranges: readonly Range[]): Range[] {
  const found: { low: number; high: number }[] = []
  for (const { low, high } of [...ranges].sort((a, b) => a.low - b.low)) {
    const last = found.at(-1)
    if (last && low <= last.high + 1) last.high = Math.max(last.high, high)
    else found.push({ low, high })
  }
  return found
}

/** Elements of the union along the dimensions from `dim` on: between two neighbouring ends the same boxes are open. */
function unionSize(boxes: readonly Box[], dim: number): number {
  const [first] = boxes
  if (!first) return 0
  if (dim === first.dims.length) return 1
  const alike = new Map<string, Box[]>()
  for (const box of boxes) {
    const key = (box.dims[dim] ?? []).map(({ low, high }) => `${low}:${high}`).join()
    const group = alike.get(key)
    if (group) group.push(box)
    else alike.set(key, [box])
  }
  const groups = [...alike.values()]
  const ends = groups.flatMap((group, place) =>
    (group[0]?.dims[dim] ?? []).flatMap(({ low, high }) => [
      { at: low, place, opens: true },
      { at: high + 1, place, opens: false },
    ]),
  )
  ends.sort((a, b) => a.at - b.at)
  const open = new Set<number>()
  const sizes = new Map<string, number>()
  let total = 0
  for (const [index, end] of ends.entries()) {
    if (end.opens) open.add(end.place)
    else open.delete(end.place)
    const width = (ends[index + 1]?.at ?? end.at) - end.at
    if (width === 0 || open.size === 0) continue
    const key = [...open].sort((a, b) => a - b).join()
    const size =
      sizes.get(key) ??
      unionSize(
        [...open].flatMap((place) => groups[place] ?? []),
        dim + 1,
      )
    sizes.set(key, size)
    total += width * size
  }
  return total
}
