// Batches by hand on small cases, and as properties: every example once a pass, same seed same order, and a restored
// state goes on as if nothing had happened.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { batches, padTogether, type BatchOptions } from '../../data/batches.ts'
import type { Example } from '../../data/examples.ts'

/** `count` examples; the first token of example i is i + 1, lengths go 1, 2, 3, 1, … */
function numbered(count: number): Example[] {
  return Array.from({ length: count }, (_, index) => {
    const tokens = Int32Array.from({ length: 1 + (index % 3) }, () => index + 1)
    return { tokens, targets: tokens.map((token) => token + 1000), weights: new Float32Array(tokens.length).fill(1) }
  })
}

describe('data/batches: micro-batches', () => {
  const base: BatchOptions = {
    examples: numbered(7),
    sequences: 2,
    length: 3,
    accumulate: 2,
    seed: 5,
    until: { epochs: 1 },
  }
  const firsts = (options: BatchOptions): number[] => {
    const seen: number[] = []
    for (const step of batches(options)) {
      for (const micro of step) {
        for (let row = 0; row < micro.sequences; row++) seen.push(micro.tokens[row * micro.length] as number)
      }
    }
    return seen
  }

  it('pads to the longest with token 0 and weight 0', () => {
    const [short, , long] = numbered(3)
    assert.deepEqual(padTogether([short!, long!]), {
      tokens: Int32Array.of(1, 0, 0, 3, 3, 3),
      targets: Int32Array.of(1001, 0, 0, 1003, 1003, 1003),
      weights: Float32Array.of(1, 0, 0, 1, 1, 1),
      sequences: 2,
      length: 3,
    })
  })

  it('visits every example once a pass, in an order of its own each pass', () => {
    const order = firsts({ ...base, until: { epochs: 2 } })
    const sorted = (part: number[]): number[] => [...part].sort((one, other) => one - other)
    assert.deepEqual(sorted(order.slice(0, 7)), [1, 2, 3, 4, 5, 6, 7])
    assert.deepEqual(sorted(order.slice(7)), [1, 2, 3, 4, 5, 6, 7])
    assert.notDeepEqual(order.slice(0, 7), order.slice(7))
    assert.notDeepEqual(firsts({ ...base, seed: 6 }), order.slice(0, 7))
  })

  it('keeps its order from release to release', () => {
    // Computed by the same definition in Python's unbounded integers.
    assert.deepEqual(firsts(base), [4, 6, 1, 7, 2, 5, 3])
    assert.deepEqual(firsts({ ...base, seed: 2 ** 40 + 5, until: { epochs: 2 } }).slice(7), [2, 6, 4, 1, 5, 7, 3])
  })

  it('fills steps across passes, and ends short only at the end', () => {
    const sizes = (options: BatchOptions): number[][] =>
      [...batches(options)].map((step) => step.map((micro) => micro.sequences))
    assert.deepEqual(sizes(base), [
      [2, 2],
      [2, 1],
    ])
    assert.deepEqual(sizes({ ...base, examples: numbered(5) }), [[2, 2], [1]])
    assert.deepEqual(sizes({ ...base, until: { steps: 5 } }), Array(5).fill([2, 2]))
    assert.equal(batches({ ...base, until: { epochs: 3 } }).steps, 6)
  })

  it('goes on from any saved state as if it had not stopped', () => {
    fc.assert(
      fc.property(
        fc.record({
          count: fc.integer({ min: 1, max: 11 }),
          sequences: fc.integer({ min: 1, max: 3 }),
          accumulate: fc.integer({ min: 1, max: 3 }),
          seed: fc.maxSafeInteger(),
          until: fc.oneof(
            fc.record({ epochs: fc.integer({ min: 1, max: 3 }) }),
            fc.record({ steps: fc.integer({ min: 1, max: 9 }) }),
          ),
        }),
        fc.nat({ max: 9 }),
        ({ count, ...rest }, stop) => {
          const options: BatchOptions = { ...rest, examples: numbered(count), length: 3 }
          const whole = [...batches(options)]
          assert.equal(whole.length, batches(options).steps)
          const first = batches(options)
          const begun: unknown[] = []
          if (stop > 0) {
            for (const step of first) {
              begun.push(step)
              if (begun.length === stop) break
            }
          }
          const saved = JSON.parse(JSON.stringify(first.state)) as typeof first.state
          assert.equal(saved.step, begun.length)
          assert.deepEqual([...begun, ...batches(options, saved)], whole)
        },
      ),
    )
  })

  it('refuses a state of other data, and sizes that are none', () => {
    const longer = { ...base, until: { steps: 4 } }
    for (const state of [
      { epoch: 0, position: 7, step: 2 },
      { epoch: 0, position: 4, step: 2 },
      { epoch: -1, position: 0, step: 0 },
      { epoch: 0.5, position: 0.5, step: 1 },
      { epoch: 9, position: 1, step: 16 },
    ]) {
      assert.throws(() => batches(longer, state), { code: 'HD513' }, JSON.stringify(state))
    }
    for (const wrong of [
      { sequences: 0 },
      { accumulate: 1.5 },
      { length: 2 },
      { until: { steps: 0 } },
      { examples: [] },
      { seed: NaN },
    ]) {
      assert.throws(() => batches({ ...base, ...wrong }), { code: 'HD512' }, JSON.stringify(wrong))
    }
  })
})
