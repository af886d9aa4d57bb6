// Packing as properties: every example once and whole, nothing beyond a document's own border, the same whatever else is
// true of the seed; and how full the rows are.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { batches, padTogether } from '../../data/batches.ts'
import type { Example } from '../../data/examples.ts'
import { packExamples, rowsApart, type PackedExample } from '../../data/packing.ts'
import { Random } from '../../data/random.ts'

/** Example i of some length: its tokens say which it is and where, its targets follow them. */
const exampleOf = (length: number, index: number): Example => {
  const tokens = Int32Array.from({ length }, (_, position) => index * 1000 + position)
  return {
    tokens,
    targets: tokens.map((token) => token + 1),
    weights: Float32Array.from({ length }, (_, position) => (position + index) % 2),
  }
}
const many = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 60 })

/** The documents of a row, cut where the segment changes. */
function documentsOf({ tokens, targets, weights, segments, positions }: PackedExample): Example[] {
  const documents: Example[] = []
  let start = 0
  for (let at = 1; at <= tokens.length; at++) {
    if (at < tokens.length && segments[at] === segments[start]) continue
    assert.equal(segments[start], documents.length)
    assert.deepEqual(Array.from(positions.slice(start, at)), Array.from(Array(at - start).keys()))
    documents.push({
      tokens: tokens.slice(start, at),
      targets: targets.slice(start, at),
      weights: weights.slice(start, at),
    })
    start = at
  }
  return documents
}

describe('data/packing', () => {
  it('keeps every example, once and whole, with its own targets and weights', () => {
    fc.assert(
      fc.property(many, fc.integer({ min: 40, max: 90 }), fc.nat(), (lengths, length, seed) => {
        const examples = lengths.map(exampleOf)
        const rows = packExamples(examples, { length, seed })
        assert.ok(rows.every(({ tokens }) => tokens.length <= length))
        const found = rows.flatMap(documentsOf).sort((one, other) => (one.tokens[0] ?? 0) - (other.tokens[0] ?? 0))
        assert.deepEqual(found, examples)
        const total = (list: readonly Example[]): number =>
          list.reduce((sum, { weights }) => sum + weights.reduce((part, weight) => part + weight, 0), 0)
        assert.equal(total(rows), total(examples))
      }),
    )
  })

  it('puts each example where it leaves the least room', () => {
    fc.assert(
      fc.property(many, fc.nat(), (lengths, seed) => {
        const length = 40
        const rows = packExamples(lengths.map(exampleOf), { length, seed })
        // The same by its definition: the fullest row that still has room, longest example first.
        const rooms: number[] = []
        for (const size of [...lengths].sort((one, other) => other - one)) {
          const fitting = rooms.filter((room) => room >= size)
          const least = Math.min(...fitting)
          if (fitting.length === 0) rooms.push(length - size)
          else rooms[rooms.indexOf(least)] = least - size
        }
        const sorted = (list: number[]): number[] => list.sort((one, other) => one - other)
        assert.deepEqual(sorted(rows.map(({ tokens }) => length - tokens.length)), sorted(rooms))
      }),
    )
  })

  it('comes out the same for a seed, and otherwise for another', () => {
    const examples = Array.from({ length: 50 }, (_, index) => exampleOf(1 + (index % 5), index))
    const firsts = (seed: number): string =>
      packExamples(examples, { length: 12, seed })
        .map(({ tokens }) => tokens.join())
        .join(';')
    assert.equal(firsts(3), firsts(3))
    assert.notEqual(firsts(3), firsts(4))
  })

  it('leaves little room among short examples', () => {
    const random = new Random(11)
    const examples = Array.from({ length: 20_000 }, (_, index) => exampleOf(1 + random.below(300), index))
    const rows = packExamples(examples, { length: 1024, seed: 1 })
    const used = examples.reduce((sum, { tokens }) => sum + tokens.length, 0)
    assert.ok(used / (rows.length * 1024) > 0.99)
  })

  it('goes along in batches, where padding is a document of its own', () => {
    const [one, two, three] = [2, 1, 2].map(exampleOf)
    const packed = packExamples([one!, two!], { length: 4, seed: 1 })
    assert.deepEqual(padTogether([...packed, three!]), {
      tokens: Int32Array.of(0, 1, 1000, 2000, 2001, 0),
      targets: Int32Array.of(1, 2, 1001, 2001, 2002, 0),
      weights: Float32Array.of(0, 1, 1, 0, 1, 0),
      segments: Int32Array.of(0, 0, 1, 0, 0, 1),
      positions: Int32Array.of(0, 1, 0, 0, 1, 0),
      sequences: 2,
      length: 3,
    })
    assert.ok(!('segments' in padTogether([one!])))
    assert.deepEqual(rowsApart([one!, two!]).flatMap(documentsOf), [one, two])
    assert.equal(rowsApart([one!, two!]).length, 2)
    const options = { sequences: 2, length: 4, accumulate: 1, seed: 1, until: { epochs: 1 } }
    for (const step of batches({ examples: packed, ...options })) {
      for (const batch of step) assert.equal(batch.segments?.length, batch.tokens.length)
    }
  })
})
