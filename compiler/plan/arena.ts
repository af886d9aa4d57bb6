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

/** Places all buffers; within 2 % of the lower bound on every program in the repository (a test holds it to that). */
export function placeInArena(lifetimes: readonly Lifetime[]): Arena {
  const sized = lifetimes.map((lifetime) => ({ ...lifetime, bytes: align(lifetime.bytes) }))
  const lowerBound = largestLiveSum(sized)
  let best: { offsets: number[]; peak: number } | undefined
  for (const order of orders) {
    const placed = placeInOrder(sized, order)
    if (!best || placed.peak < best.peak) best = placed
    if (best.peak === lowerBound) break
  }
  return { offsets: best?.offsets ?? [], peak: best?.peak ?? 0, lowerBound }
}

function placeInOrder(lifetimes: readonly Lifetime[], order: Order): { offsets: number[]; peak: number } {
  const offsets = lifetimes.map(() => 0)
  const places = lifetimes
    .map((lifetime, index) => ({ lifetime, index }))
    .sort((a, b) => order(a.lifetime, b.lifetime) || a.index - b.index)
  // Kept sorted by offset, so that one walk finds the lowest gap.
  const placed: { offset: number; end: number; first: number; last: number }[] = []
  let peak = 0
  for (const { lifetime, index } of places) {
    let offset = 0
    for (const other of placed) {
      if (other.last < lifetime.first || lifetime.last < other.first) continue
      if (other.offset - offset >= lifetime.bytes) break
      offset = Math.max(offset, other.end)
    }
    const end = offset + lifetime.bytes
    offsets[index] = offset
    peak = Math.max(peak, end)
    const position = placed.findIndex((other) => other.offset > offset)
    placed.splice(position < 0 ? placed.length : position, 0, {
      offset,
      end,
      first: lifetime.first,
      last: lifetime.last,
    })
  }
  return { offsets, peak }
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
