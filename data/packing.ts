// Several examples in one row, so that little of a batch is padding. Attention, positions and loss keep them apart by
// numbers that go along. Knows nothing of batches or models.

import type { Example } from './examples.ts'
import { Random } from './random.ts'

export interface PackOptions {
  /** Positions of a row; no example may be longer. */
  readonly length: number
  /** Decides who shares a row with whom, among examples of the same length. */
  readonly seed: number
}

/** An example that says where the documents in it begin: each has a number and positions of its own, both from 0. */
export interface PackedExample extends Example {
  readonly segments: Int32Array
  readonly positions: Int32Array
}

/** Sets the order of packing apart from that of the passes over the data. */
const PACKING = 0x7061636b

/**
 * Rows of at most `length` positions that hold every example exactly once, whole. Best fit by decreasing length: the
 * longest example that is left goes where it leaves least room (Johnson et al. 1974: at most 11/9 of the fewest rows, and
 * 6/9 of one). Equal lengths come in an order that `seed` decides. No target lies beyond its own example, since an
 * example's last target is no token of the row.
 */
export function packExamples(examples: readonly Example[], { length, seed }: PackOptions): PackedExample[] {
  const order = new Random(seed, PACKING).shuffle(Array.from(examples, (_, index) => index))
  const size = (index: number): number => examples[index]?.tokens.length ?? 0
  // Sorting is stable: the shuffled order stays among equals.
  order.sort((one, other) => size(other) - size(one))
  const rows: number[][] = []
  const open = new RoomyRows(length)
  for (const index of order) {
    let row = open.take(size(index))
    if (row === undefined) {
      row = { row: rows.length, room: length }
      rows.push([])
    }
    rows[row.row]?.push(index)
    open.put(row.row, row.room - size(index))
  }
  return rows.map((row) => joined(row.map((index) => examples[index]).filter((one) => one !== undefined)))
}

/** Each example in a row of its own, for a program that reads packed rows. */
export function rowsApart(examples: readonly Example[]): PackedExample[] {
  return examples.map((example) => joined([example]))
}

function joined(examples: readonly Example[]): PackedExample {
  const length = examples.reduce((sum, { tokens }) => sum + tokens.length, 0)
  const row = {
    tokens: new Int32Array(length),
    targets: new Int32Array(length),
    weights: new Float32Array(length),
    segments: new Int32Array(length),
    positions: new Int32Array(length),
  }
  let at = 0
  for (const [segment, { tokens, targets, weights }] of examples.entries()) {
    row.tokens.set(tokens, at)
    row.targets.set(targets, at)
    row.weights.set(weights, at)
    row.segments.fill(segment, at, at + tokens.length)
    for (let position = 0; position < tokens.length; position++) row.positions[at + position] = position
    at += tokens.length
  }
  return row
}

/** Open rows by the room they have: finds the least room that suffices in the logarithm of a row's length. */
class RoomyRows {
  readonly #rows: number[][]
  /** A tree over rooms: whether any row below a node has that room. Leaves begin at `#leaves`. */
  readonly #some: Uint8Array
  readonly #leaves: number

  constructor(length: number) {
    this.#rows = Array.from({ length: length + 1 }, () => [])
    this.#leaves = 2 ** Math.ceil(Math.log2(length + 1))
    this.#some = new Uint8Array(2 * this.#leaves)
  }

  put(row: number, room: number): void {
    this.#rows[room]?.push(row)
    for (let node = this.#leaves + room; node >= 1; node >>= 1) this.#some[node] = 1
  }

  /** Takes out a row with the least room of at least `room`. */
  take(room: number): { row: number; room: number } | undefined {
    const found = this.#least(room)
    const rows = found === undefined ? undefined : this.#rows[found]
    const row = rows?.pop()
    if (found === undefined || rows === undefined || row === undefined) return undefined
    if (rows.length === 0) this.#empty(found)
    return { row, room: found }
  }

  #least(room: number): number | undefined {
    let node = this.#leaves + room
    if (this.#some[node] === 1) return room
    // Up to the first ancestor with something to the right, then down to its leftmost leaf.
    while (node > 1 && ((node & 1) === 1 || this.#some[node + 1] === 0)) node >>= 1
    if (node <= 1) return undefined
    node++
    while (node < this.#leaves) node = this.#some[2 * node] === 1 ? 2 * node : 2 * node + 1
    return node - this.#leaves
  }

  #empty(room: number): void {
    this.#some[this.#leaves + room] = 0
    for (let node = (this.#leaves + room) >> 1; node >= 1; node >>= 1) {
      this.#some[node] = (this.#some[2 * node] ?? 0) | (this.#some[2 * node + 1] ?? 0)
    }
  }
}
