// Offsets for buffers with lifetimes in one block of memory. Placing at the lowest free offset is tried in several
// orders and the best kept; the largest sum of live bytes is a lower bound that says how good that is.

/** A buffer that must exist from launch `first` to launch `last`, inclusive. */
export interface Lifetime {
  readonly bytes: number
  readonly first: number
  readonly last: number
}

export interface Arena {
  /** Offset of each buffer, in the order given. */
  readonly offsets: readonly number[]
  /** Bytes of the block. */
  readonly peak: number
  /** Largest sum of bytes alive at one launch: no placement needs less. */
  readonly lowerBound: number
}

export type Placing = (lifetimes: readonly Lifetime[]) => Arena

/** Every buffer starts at a multiple of this: a cache line, and the widest vector. */
export const alignment = 64

export function align(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment
}

type Order = (a: Lifetime, b: Lifetime) => number

const duration = ({ first, last }: Lifetime): number => last - first

const orders: readonly Order[] = [
  (a, b) => b.bytes - a.bytes || duration(b) - duration(a) || a.first - b.first,
  (a, b) => duration(b) - duration(a) || b.bytes - a.bytes || a.first - b.first,
  (a, b) => b.bytes * duration(b) - a.bytes * duration(a) || a.first - b.first,
  (a, b) => a.first - b.first || b.bytes - a.bytes,
  (a, b) => b.last - a.last || b.bytes - a.bytes,
]

/** Above this share of the lower bound the orders are varied. */
const good = 1.005
/** Variations tried before the best is taken; the same ones on every machine. */
const variations = 600

/** Places all buffers; within 2 % of the lower bound on every program in the repository (a test holds it to that). */
export function placeInArena(lifetimes: readonly Lifetime[]): Arena {
  const sized = lifetimes.map((lifetime) => ({ ...lifetime, bytes: align(lifetime.bytes) }))
  const lowerBound = largestLiveSum(sized)
  let best: Placement = { order: [], offsets: [], peak: Number.POSITIVE_INFINITY }
  for (const compare of orders) {
    const order = sized.map((_, index) => index)
    order.sort((a, b) => compare(sized[a] as Lifetime, sized[b] as Lifetime) || a - b)
    const placed = place(sized, order)
    if (placed.peak < best.peak) best = placed
  }
  const vary = variation()
  for (let tries = 0; tries < variations && best.peak > lowerBound * good; tries++) {
    const placed = place(sized, vary(sized, best))
    if (placed.peak <= best.peak) best = placed
  }
  return { offsets: best.offsets, peak: lifetimes.length === 0 ? 0 : best.peak, lowerBound }
}

/** What no placement can do better than, without one: for asking whether it is worth trying. */
export function unplaced(lifetimes: readonly Lifetime[]): Arena {
  const lowerBound = largestLiveSum(lifetimes.map((lifetime) => ({ ...lifetime, bytes: align(lifetime.bytes) })))
  return { offsets: lifetimes.map(() => 0), peak: lowerBound, lowerBound }
}

interface Placement {
  /** Indices of buffers in the order in which they were placed. */
  readonly order: readonly number[]
  readonly offsets: readonly number[]
  readonly peak: number
}

/** Moves a buffer that reaches the peak, and now and then any other, to an earlier turn. */
function variation(): (lifetimes: readonly Lifetime[], best: Placement) => number[] {
  let state = 1
  const below = (count: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state >>> 8) % count
  }
  return (lifetimes, { order, offsets, peak }) => {
    const highest = order.filter((index) => (offsets[index] ?? 0) + (lifetimes[index]?.bytes ?? 0) === peak)
    const candidates = below(4) === 0 ? order : highest
    const moved = candidates[below(candidates.length)] as number
    const rest = order.filter((index) => index !== moved)
    rest.splice(below(order.indexOf(moved) + 1), 0, moved)
    return rest
  }
}

/** Each buffer in turn at the lowest offset that is free for its whole life. */
function place(lifetimes: readonly Lifetime[], order: readonly number[]): Placement {
  const offsets = lifetimes.map(() => 0)
  // Kept sorted by offset, so that one walk finds the lowest gap.
  const placed: { offset: number; end: number; first: number; last: number }[] = []
  let peak = 0
  for (const index of order) {
    const { bytes, first, last } = lifetimes[index] as Lifetime
    let offset = 0
    for (const other of placed) {
      if (other.last < first || last < other.first) continue
      if (other.offset - offset >= bytes) break
      offset = Math.max(offset, other.end)
    }
    const end = offset + bytes
    offsets[index] = offset
    peak = Math.max(peak, end)
    const position = placed.findIndex((other) => other.offset > offset)
    placed.splice(position < 0 ? placed.length : position, 0, { offset, end, first, last })
  }
  return { order, offsets, peak }
}

function largestLiveSum(lifetimes: readonly Lifetime[]): number {
  const changes = new Map<number, number>()
  for (const { bytes, first, last } of lifetimes) {
    changes.set(first, (changes.get(first) ?? 0) + bytes)
    changes.set(last + 1, (changes.get(last + 1) ?? 0) - bytes)
  }
  let live = 0
  let largest = 0
  for (const [, change] of [...changes].sort(([a], [b]) => a - b)) {
    live += change
    largest = Math.max(largest, live)
  }
  return largest
}
