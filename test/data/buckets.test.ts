// Batches of like length as properties: every example once a pass, groups from one bucket, less padding, and going on
// from any state.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { batches, type BatchOptions } from '../../data/batches.ts'
import { bucketOrder, usualBounds } from '../../data/buckets.ts'
import type { Example } from '../../data/examples.ts'
import { Random } from '../../data/random.ts'
import { paddingShare } from '../../data/report.ts'

/** Example i of some length: its first token is i + 1. */
const exampleOf = (length: number, index: number): Example => ({
  tokens: new Int32Array(length).fill(index + 1),
  targets: new Int32Array(length).fill(index + 1000),
  weights: Float32Array.from({ length }, (_, position) => (position + index) % 2),
})
const bucketOf = (length: number, bounds: readonly number[]): number => {
  const found = bounds.findIndex((bound) => length <= bound)
  return found < 0 ? bounds.length : found
}
const setting = fc.record({
  lengths: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 40 }),
  bounds: fc.uniqueArray(fc.integer({ min: 1, max: 45 }), { minLength: 1, maxLength: 4 }),
  sequences: fc.integer({ min: 1, max: 5 }),
  accumulate: fc.integer({ min: 1, max: 3 }),
  seed: fc.nat(),
})
const optionsOf = ({
  lengths,
  bounds,
  ...rest
}: typeof setting extends fc.Arbitrary<infer S> ? S : never): BatchOptions => ({
  ...rest,
  examples: lengths.map(exampleOf),
  length: 40,
  buckets: bounds.toSorted((one, other) => one - other),
  until: { epochs: 3 },
})
const firstsOf = (options: BatchOptions): number[][] =>
  [...batches(options)]
    .flat()
    .map(({ tokens, sequences, length }) =>
      Array.from({ length: sequences }, (_, row) => tokens[row * length] as number),
    )

describe('data/buckets', () => {
  it('visit every example once a pass', () => {
    fc.assert(
      fc.property(setting, (given) => {
        const count = given.lengths.length
        const seen = firstsOf(optionsOf(given)).flat()
        for (let pass = 0; pass < 3; pass++) {
          const part = seen.slice(pass * count, (pass + 1) * count).sort((one, other) => one - other)
          assert.deepEqual(
            part,
            Array.from({ length: count }, (_, index) => index + 1),
          )
        }
      }),
    )
  })

  it('keep to one bucket in all but a few micro-batches of a pass', () => {
    fc.assert(
      fc.property(setting, (given) => {
        const options = optionsOf(given)
        const { buckets = [], sequences } = options
        const mixed = firstsOf(options).filter(
          (group) => new Set(group.map((first) => bucketOf(given.lengths[first - 1] ?? 0, buckets))).size > 1,
        )
        // What is left over in the buckets is less than a micro-batch each; at either end of a pass one is shared.
        const leftOver = Math.ceil(((buckets.length + 1) * (sequences - 1)) / sequences)
        assert.ok(mixed.length <= 3 * leftOver + 4, `${mixed.length}`)
      }),
    )
  })

  it('learn exactly what they would without', () => {
    fc.assert(
      fc.property(setting, (given) => {
        const options = optionsOf(given)
        const { buckets: _buckets, ...without } = options
        const learnt = (of: BatchOptions): string[] =>
          [...batches(of)]
            .flat()
            .flatMap(({ targets, weights }) =>
              Array.from(weights, (weight, at) => `${weight} ${targets[at]}`).filter((one) => one.startsWith('1')),
            )
        assert.deepEqual(learnt(options).sort(), learnt(without).sort())
      }),
    )
  })

  it('go on from any saved state as if they had not stopped', () => {
    fc.assert(
      fc.property(setting, fc.nat({ max: 12 }), (given, stop) => {
        const options = optionsOf(given)
        const whole = [...batches(options)]
        const first = batches(options)
        const begun: unknown[] = []
        if (stop > 0) {
          for (const step of first) {
            begun.push(step)
            if (begun.length === stop) break
          }
        }
        assert.deepEqual([...begun, ...batches(options, first.state)], whole)
      }),
    )
  })

  it('pad less, and come in another order each pass', () => {
    const random = new Random(5)
    const lengths = Array.from({ length: 500 }, () => 1 + Math.floor(random.below(64 * 64) / 64))
    const examples = lengths.map(exampleOf)
    const options = { examples, sequences: 8, length: 64, accumulate: 2, seed: 3, until: { epochs: 2 } } as const
    const tokens = 2 * lengths.reduce((sum, length) => sum + length, 0)
    const buckets = usualBounds(lengths)
    const plain = paddingShare(batches(options), tokens)
    const bucketed = paddingShare(batches({ ...options, buckets }), tokens)
    assert.ok(plain > 0.4 && bucketed < 0.15, `${plain} ${bucketed}`)
    const order = firstsOf({ ...options, buckets }).flat()
    assert.notDeepEqual(order.slice(0, 500), order.slice(500))
    assert.notDeepEqual(firstsOf({ ...options, buckets, seed: 4 }).flat(), order)
    // Short and long are not in a row: neighbouring micro-batches come from any bucket.
    const longest = [...batches({ ...options, buckets })].flat().map(({ length }) => length)
    const rises = longest.filter((length, index) => index > 0 && length > (longest[index - 1] ?? 0)).length
    assert.ok(rises > longest.length / 4 && rises < (3 * longest.length) / 4)
  })

  it('have usual bounds between which equally many lie', () => {
    assert.deepEqual(usualBounds(Array.from({ length: 80 }, (_, index) => index + 1)), [10, 20, 30, 40, 50, 60, 70, 80])
    assert.deepEqual(usualBounds([7, 7, 7]), [7])
    assert.deepEqual(usualBounds([5, 1]), [1, 5])
  })

  it('group what is left over, and put the smallest group last', () => {
    const order = bucketOrder([1, 9, 1, 9, 1, 9, 5], [2, 6], 2, 0, new Random(1))
    assert.equal(order.length, 7)
    assert.equal(new Set(order).size, 7)
    // The last of what is left over is of the highest bucket.
    assert.ok([1, 3, 5].includes(order[6] ?? -1))
  })

  it('refuse bounds that are none', () => {
    const base = { examples: [exampleOf(2, 0)], sequences: 1, length: 4, accumulate: 1, seed: 1, until: { steps: 1 } }
    for (const buckets of [[], [0], [4, 2], [2, 2], [1.5], [NaN]]) {
      assert.throws(() => batches({ ...base, buckets }), { code: 'HD512' }, JSON.stringify(buckets))
    }
  })
})
