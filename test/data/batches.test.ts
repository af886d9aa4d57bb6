// Examples and batches by hand on small cases, and as properties: every example once a pass, same seed same order, and
// a restored state goes on as if nothing had happened.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { batches, buildExamples, padTogether, type BatchOptions, type Example } from '../../data/batches.ts'

/** One token a letter, a = 1, so that expectations can be read. */
const letters = { encode: (text: string) => Array.from(text, (letter) => letter.charCodeAt(0) - 96), eosId: 50 }
const plain = (example: Example | undefined): number[][] =>
  example === undefined ? [] : [[...example.tokens], [...example.targets], [...example.weights]]

/** `count` examples; the first token of example i is i + 1, lengths go 1, 2, 3, 1, … */
function numbered(count: number): Example[] {
  return Array.from({ length: count }, (_, index) => {
    const tokens = Int32Array.from({ length: 1 + (index % 3) }, () => index + 1)
    return { tokens, targets: tokens.map((token) => token + 1000), weights: new Float32Array(tokens.length).fill(1) }
  })
}

describe('data/batches: examples', () => {
  const one = (
    record: Parameters<typeof buildExamples>[0][number],
    options: Parameters<typeof buildExamples>[2],
  ): number[][] => plain(buildExamples([record], letters, options).examples[0])

  it('learns the completion and the end, not the prompt', () => {
    assert.deepEqual(one({ prompt: 'abc', completion: 'de' }, { loss: 'completion', length: 16 }), [
      [1, 2, 3, 4, 5],
      [2, 3, 4, 5, 50],
      [0, 0, 1, 1, 1],
    ])
  })

  it("learns everything with loss 'all', and all of a text either way", () => {
    const all = [
      [1, 2, 3],
      [2, 3, 50],
      [1, 1, 1],
    ]
    assert.deepEqual(one({ prompt: 'ab', completion: 'c' }, { loss: 'all', length: 16 }), all)
    assert.deepEqual(one({ text: 'abc' }, { loss: 'completion', length: 16 }), all)
  })

  it('learns an empty prompt like a text, and goes without an end token when there is none', () => {
    assert.deepEqual(one({ prompt: '', completion: 'abc' }, { loss: 'completion', length: 16 })[2], [1, 1, 1])
    const { examples } = buildExamples([{ text: 'abc' }], { encode: letters.encode }, { loss: 'all', length: 16 })
    assert.deepEqual(plain(examples[0]), [
      [1, 2],
      [2, 3],
      [1, 1],
    ])
  })

  it('cuts what is too long and counts it, and drops what has nothing left to learn', () => {
    const records = [{ prompt: 'abc', completion: 'de' }, { prompt: 'abcdefgh', completion: 'i' }, { text: 'abcd' }]
    const built = buildExamples(records, letters, { loss: 'completion', length: 4 })
    assert.deepEqual(built.examples.map(plain), [
      [
        [1, 2, 3, 4],
        [2, 3, 4, 5],
        [0, 0, 1, 1],
      ],
      [
        [1, 2, 3, 4],
        [2, 3, 4, 50],
        [1, 1, 1, 1],
      ],
    ])
    assert.equal(built.truncated, 2)
    assert.equal(built.dropped, 1)
    assert.throws(() => buildExamples([records[1]!], letters, { loss: 'completion', length: 4 }), { code: 'HD511' })
  })

  it('refuses records with nothing to learn, naming which', () => {
    const options = { loss: 'completion', length: 8, file: 'mine.jsonl' } as const
    const empty = { prompt: 'a', completion: '' }
    assert.throws(() => buildExamples([{ text: 'ab' }, empty], letters, options), {
      code: 'HD510',
      message: /record 2/,
    })
    assert.throws(() => buildExamples([{ text: '' }], letters, options), { code: 'HD510' })
    assert.throws(() => buildExamples([{ text: 'a' }], { encode: letters.encode }, options), { code: 'HD510' })
  })
})

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
